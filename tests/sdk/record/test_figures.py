"""Figures and names: what fits is sent as it is meant, what does not is kept aside, and no token is counted twice."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sdk.support.sinks import told
from towerlog.sdk.record.figures import BUCKETS, MAX_COUNT, count, dollars, labels, milliseconds, thread_of, usage_of


class Index:
    def __index__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "Index(7)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(150, 150), (150.0, 150), ("150", 150), (" 150 ", 150), ("150.0", 150), (Index(), 7), (Decimal(3), 3)],
    ids=repr,
)
def test_a_whole_number_is_a_count_whatever_its_type(value: Any, expected: int) -> None:
    found = count(value)
    assert (found, type(found)) == (expected, int)


@pytest.mark.parametrize(
    "value", [-1, 1.5, True, "x", "", float("nan"), float("inf"), MAX_COUNT + 1, "1e400", [], Fraction(1, 2)], ids=repr
)
def test_what_is_no_count_is_not_used(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        count(value)


def test_money_and_durations() -> None:
    assert [dollars(value) for value in (0.01, "0.01", Decimal("0.01"), 0)] == [0.01, 0.01, 0.01, 0.0]
    assert [milliseconds(value) for value in (1.5, 2.0, "3", timedelta(seconds=1), Fraction(1, 2))] == [
        1.5,
        2,
        3,
        1000,
        0.5,
    ]
    for fit, value in ((dollars, -1), (dollars, "nan"), (milliseconds, -1), (milliseconds, float("inf"))):
        with pytest.raises(ValueError, match="not a"):
            fit(value)


def test_a_call_with_odd_figures_loses_none_of_the_others() -> None:
    run, events = told()
    run.model_call("m", input_tokens=150.0, output_tokens="3", cached_input_tokens=-1, cost_usd=-1, duration_ms="soon")
    (event,) = events
    assert event["data"] == {
        "model": "m",
        "input_tokens": 150,
        "output_tokens": 3,
        "towerlog_invalid": {"cached_input_tokens": -1, "cost_usd": -1, "duration_ms": "soon"},
    }


CACHED = {"input": 86, "cached": 1920, "output": 250, "reasoning": 50}
OPENAI_CHAT = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920},
    "completion_tokens_details": {"reasoning_tokens": 50},
}
OPENAI_RESPONSES = {
    "input_tokens": 2006,
    "input_tokens_details": {"cached_tokens": 1920},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 50},
}
ANTHROPIC = {
    "input_tokens": 86,
    "cache_read_input_tokens": 1920,
    "cache_creation_input_tokens": 12,
    "output_tokens": 300,
}
GEMINI = {
    "promptTokenCount": 2000,
    "cachedContentTokenCount": 1920,
    "toolUsePromptTokenCount": 6,
    "candidatesTokenCount": 250,
    "thoughtsTokenCount": 50,
}
PYDANTIC_AI = {
    "input_tokens": 2018,
    "cache_read_tokens": 1920,
    "cache_write_tokens": 12,
    "output_tokens": 300,
    "details": {"reasoning_tokens": 50},
}
BEDROCK = {"inputTokens": 86, "cacheReadInputTokens": 1920, "outputTokens": 300}
SHAPES = [
    (OPENAI_CHAT, (86, 1920, None, 250, 50)),
    (OPENAI_RESPONSES, (86, 1920, None, 250, 50)),
    (ANTHROPIC, (86, 1920, 12, 300, None)),
    (GEMINI, (86, 1920, None, 250, 50)),
    (PYDANTIC_AI, (86, 1920, 12, 250, 50)),
    (BEDROCK, (86, 1920, None, 300, None)),
    ({"prompt_tokens": 10, "completion_tokens": 2}, (10, None, None, 2, None)),
    ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": None}, (10, None, None, 2, None)),
    ({"input_tokens": 10, "output_tokens": 2}, (10, None, None, 2, None)),
    # From a proxy that puts another provider's figures under these names: the cached ones were not inside.
    ({"prompt_tokens": 86, "prompt_tokens_details": {"cached_tokens": 1920}}, (86, 1920, None, None, None)),
]


def as_object(value: Any) -> Any:
    """The same as an object with attributes, as the libraries give it."""
    if not isinstance(value, dict):
        return value
    return SimpleNamespace(**{name: as_object(member) for name, member in value.items()})


@pytest.mark.parametrize("form", [dict, as_object], ids=["mapping", "object"])
@pytest.mark.parametrize(("usage", "expected"), SHAPES)
def test_the_usage_of_a_provider_is_taken_apart(usage: Any, expected: tuple[Any, ...], form: Any) -> None:
    known = {bucket: tokens for bucket, tokens in zip(BUCKETS, expected, strict=True) if tokens is not None}
    assert usage_of(form(usage)) == known


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_token_of_a_provider_is_in_one_bucket(prompt: int, cached: int, completion: int, reasoning: int) -> None:
    cached, reasoning = min(cached, prompt), min(reasoning, completion)
    chat = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert sum(usage_of(chat).values()) == prompt + completion


@pytest.mark.parametrize("usage", [7, "text", {}, {"total": 3}, Index(), {"prompt_tokens": -4}], ids=repr)
def test_usage_of_no_known_shape_is_kept_aside(usage: object) -> None:
    run, events = told()
    run.model_call("m", usage=usage, output_tokens=3)
    (event,) = events
    assert event["data"]["output_tokens"] == 3
    assert list(event["data"]["towerlog_invalid"]) == ["usage"]


def test_single_figures_override_a_providers_usage() -> None:
    run, events = told()
    run.model_call("m", usage=OPENAI_CHAT, output_tokens=1)
    assert [events[0]["data"][bucket] for bucket in ("input_tokens", "output_tokens")] == [86, 1]


@pytest.mark.parametrize("thread", ["t", "feature-login", "Straße 7", "a b", "x" * 200, "...", 'q"\\'])
def test_a_thread_that_is_allowed_stays_as_it_is(thread: str) -> None:
    assert thread_of(thread) == thread


def test_a_thread_that_is_not_allowed_is_made_fit_and_stays_another() -> None:
    given = ["feature/login", "feature-login", "feature\nlogin", ".", "..", "x" * 300, "x" * 301, "half\ud83d", "half?"]
    found = [thread_of(thread) for thread in given]
    assert len(set(found)) == len(given)
    for thread in found:
        assert thread is not None
        assert 0 < len(thread) <= 200
        assert "/" not in thread
        assert thread.isprintable()
        assert thread not in (".", "..")
    assert (thread_of("feature/login") or "").startswith("feature-login-")
    assert (thread_of(""), thread_of(7)) == (None, "7")


def test_labels_are_texts() -> None:
    assert labels({"a": "b", "n": 1, 2: True}) == {"a": "b", "n": "1", "2": "True"}
    for wrong in ({"a": []}, {str(n): "x" for n in range(65)}, 7):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            labels(wrong)
