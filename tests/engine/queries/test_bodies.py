"""A run's input and result are what was given, whatever the events around them look like."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.factories import draft, facts_of, traced
from tests.support.rig import Rig
from towerlog.model.event import EventType
from towerlog.model.outcome import Stored
from towerlog.model.question import GetRun


async def shown(rig: Rig, *drafts: Any) -> tuple[bytes | None, bytes | None]:
    """Input and result of the run of these events."""
    stored = (await rig.append(*drafts))[0]
    assert isinstance(stored, Stored)
    view = await rig.do(GetRun(stored.run_id))
    return view.input, view.result


def start(data: Any) -> Any:
    return draft(EventType.RUN_STARTED, traced("x"), data, facts=facts_of(is_start=True))


def end(data: Any, kind: EventType = EventType.RUN_COMPLETED) -> Any:
    return draft(kind, traced("x"), data)


async def test_both_are_what_was_given(rig: Rig) -> None:
    found = await shown(rig, start({"input": {"q": 1}, "metadata": {"m": 1}}), end({"result": [1], "usage": {}}))
    assert found == (b'{"q":1}', b"[1]")


async def test_the_input_of_an_overtaken_start_is_its_starts(rig: Rig) -> None:
    step = draft(EventType.STEP, traced("x"), {"name": "n", "input": "not this"})
    assert await shown(rig, step, start({"input": "go"})) == (b'"go"', None)


async def test_without_a_start_there_is_no_input(rig: Rig) -> None:
    assert await shown(rig, draft(EventType.STEP, traced("x"), {"input": "not this"})) == (None, None)


@pytest.mark.parametrize(
    ("data", "expected"),
    [({"output": "text"}, b'"text"'), ({"url": "u"}, b'{"url":"u"}'), ({}, None), ({"result": None}, None)],
)
async def test_an_end_without_a_result_is_given_as_it_came(rig: Rig, data: Any, expected: bytes | None) -> None:
    assert (await shown(rig, start({}), end(data)))[1] == expected


async def test_a_failure_has_no_result(rig: Rig) -> None:
    assert (await shown(rig, start({}), end({"error": "no"}, EventType.RUN_FAILED)))[1] is None
