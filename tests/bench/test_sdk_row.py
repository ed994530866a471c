"""The row of the SDK's calls, on a real server: every call is measured, and what was not delivered is a failure."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.context import QUICK, Context
from bench.profiler import Profiler
from bench.scenarios import sdk


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(replace(QUICK, sdk_calls=30), tmp_path, lambda line: None, Profiler(None))


def test_each_call_is_held_against_the_limit_of_the_callers_thread(context: Context) -> None:
    rows = sdk.measure(context)
    assert [row.problem for row in rows] == [None] * len(rows)
    assert len(rows) == len({row.name for row in rows}) >= 4
    for row in rows:
        assert (row.unit, row.threshold, row.bound) == ("µs", 50.0, "at most")
        assert (row.towerlog or 0) > 0
        assert row.detail["calls"] == 30
