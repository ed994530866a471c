"""What an agent says beside a question: what can be used is used, and what cannot is named."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from towerlog.dialects import fields
from towerlog.dialects.approvals.terms import SaidQuestion, SaidTerms, terms_of
from towerlog.model.approval import MAX_EXPIRY_SECONDS, OnExpiry, Risk, Terms
from towerlog.model.event import FieldWarning

QUESTION, CALLS = msgspec.json.Decoder(SaidQuestion), msgspec.json.Decoder(SaidTerms)


def read(said: Any, decoder: Any = QUESTION) -> tuple[Terms | None, list[str]]:
    """The terms, and the fields that are warned of."""
    warnings: list[FieldWarning] = []
    found = terms_of(fields.read(decoder, json.dumps(said).encode(), "data", warnings), "data", warnings)
    return found, [one.field for one in warnings]


def test_whoever_says_nothing_has_no_terms() -> None:
    assert read({}) == (None, [])
    assert read({"schema": None, "risk": None, "expires_at": None, "expires_in_seconds": None}) == (None, [])
    assert read({"on_expiry": "wait"}) == (None, [])


def test_all_that_is_said_is_taken() -> None:
    said = {"risk": "high", "expires_in_seconds": 1.5, "expires_at": "2026-04-02T10:00:00Z", "on_expiry": "cancel"}
    at = 1_775_124_000_000
    assert read({**said, "schema": {"type": "string"}}) == (Terms(Risk.HIGH, 1500, at, OnExpiry.CANCEL, True), [])


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("risk", "bold"),
        ("risk", 3),
        ("expires_in_seconds", 0),
        ("expires_in_seconds", MAX_EXPIRY_SECONDS + 1),
        ("expires_in_seconds", "1h"),
        ("expires_at", "tomorrow"),
        ("on_expiry", "shrug"),
        ("schema", {"$ref": "http://127.0.0.1/x"}),
        ("schema", "string"),
    ],
)
def test_what_cannot_be_used_is_named_and_costs_nothing_else(member: str, value: Any) -> None:
    assert read({member: value}) == (None, [f"data.{member}"])


def test_a_checkpoints_figures_may_have_a_schema_of_their_own() -> None:
    assert read({"schema": 7, "risk": "low"}, CALLS) == (Terms(Risk.LOW), [])


def test_of_two_times_the_sooner_counts() -> None:
    assert Terms(expires_in_ms=500, expires_at=1000).due(400) == 900
    assert Terms(expires_in_ms=500, expires_at=700).due(400) == 700
    assert Terms().due(400) is None
