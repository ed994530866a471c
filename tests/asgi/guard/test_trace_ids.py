"""Trace ids: honoured where they are well-formed, fresh and different where they are not."""

from __future__ import annotations

import re

import pytest

from tests.asgi.conversation import HandClock
from towerlog.ambient import SystemIds
from towerlog.asgi.guard.trace_ids import TraceIds, trace_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_fresh_ones_are_all_different() -> None:
    traces = TraceIds(SystemIds(HandClock()))
    made = [traces.fresh() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{32}", trace) for trace in made)
    assert made[0] not in [TraceIds(SystemIds(HandClock())).fresh() for _ in range(100)]


@pytest.mark.parametrize("text", [GOOD, f"01-{TRACE}-00f067aa0ba902b7-01-more"])
def test_a_callers_own_is_honoured(text: str) -> None:
    assert trace_of(text.encode()) == TRACE


@pytest.mark.parametrize(
    "text",
    [
        "", "garbage", GOOD.upper(), GOOD[:-1], GOOD + "0", f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01", GOOD.replace("-", "_"), GOOD.replace("4bf9", "4bg9"),
        f"00-{TRACE}-00f067aa0ba902bé-01", f"0x-{TRACE}-00f067aa0ba902b7-01",
    ],
)  # fmt: skip
def test_what_is_not_as_the_standard_says_is_replaced(text: str) -> None:
    assert trace_of(text.encode("latin-1")) is None
    assert re.fullmatch(r"[0-9a-f]{32}", TraceIds(SystemIds(HandClock())).of(text.encode("latin-1")))
