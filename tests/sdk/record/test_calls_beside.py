"""Calls that a provider makes for one, and lists beside its usage, are model calls of their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.sdk.support.sinks import ListSink
from towerlog.sdk.record.run_handles import Run

PARTS: list[dict[str, Any]] = [
    {"type": "message", "input_tokens": 600, "output_tokens": 50},
    {"type": "advisor_message", "model": "claude-opus-4-5", "input_tokens": 5000, "output_tokens": 200},
    {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500},
    {"type": "message", "input_tokens": 400, "output_tokens": 50},
]
USAGE: dict[str, Any] = {"input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 0}


def as_object(usage: dict[str, Any]) -> object:
    """As a client of the provider gives it."""
    parts = [SimpleNamespace(**one) for one in usage["iterations"]]
    return SimpleNamespace(**{**usage, "iterations": parts})


@pytest.mark.parametrize("form", [dict, as_object])
def test_advisors_and_compactions_are_told_and_parts_of_the_message_are_not(form: Any) -> None:
    sink = ListSink()
    Run(sink, "r1", "a").model_call("claude-sonnet-4-5", usage=form({**USAGE, "iterations": PARTS}))
    told = [(data["model"], data["input_tokens"], data["output_tokens"]) for data in sink.data]
    assert told == [
        ("claude-sonnet-4-5", 1000, 100),
        ("claude-opus-4-5", 5000, 200),
        ("claude-sonnet-4-5", 180_000, 3500),
    ]
    assert all("cost_usd" not in data for data in sink.data)


def test_a_told_cost_is_that_of_all_of_them() -> None:
    sink = ListSink()
    Run(sink, "r1", "a").model_call("claude-sonnet-4-5", usage={**USAGE, "iterations": PARTS}, cost_usd=0.5)
    assert [data["cost_usd"] for data in sink.data] == [0.5, 0, 0]


@pytest.mark.parametrize("iterations", [None, 3, "x", [None, 7, {"type": "oracle"}]])
def test_what_is_no_list_of_calls_is_none(iterations: Any) -> None:
    sink = ListSink()
    Run(sink, "r1", "a").model_call("m", usage={**USAGE, "iterations": iterations})
    assert [data["input_tokens"] for data in sink.data] == [1000]
