"""What a command leaves behind is freed at once: until a full collection hundreds of bodies may wait for it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.factories import draft, facts_of, traced
from tests.support.rig import Rig
from towerlog.errors import TowerlogError
from towerlog.model.command import Append, CancelRun, Claim, CreateRun, Idempotency, Write
from towerlog.model.event import RunByForeignId

RUN = RunByForeignId("s:x", "t")
LARGE = {"text": "x" * 100_000}


def event(event_id: str, **data: Any) -> Append:
    return Append("steps", [draft(run=RUN, event_id=event_id, data=LARGE | data)])


COMMANDS: dict[str, Write] = {
    "new": event("new"),
    "a repeat": event("first"),
    "another of the same id": event("first", other=1),
    "of a new run": Append("steps", [draft(run=traced("anew"), facts=facts_of(is_start=True), data=LARGE)]),
    "several": Append("steps", [draft(run=RUN, event_id=name, data=LARGE) for name in ("first", "second", "third")]),
    "created": CreateRun("thread"),
    "nothing to claim": Claim("w", 60_000, ("nobody",)),
    "of a run that is not there": CancelRun("00000000-0000-7000-8000-000000000000"),
}
KEYS = [Idempotency("create", key, b"digest", lambda _: (201, b"{}")) for key in ("one", "one", "other")]


@pytest.fixture
def collected_by_hand() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("collected_by_hand")
async def test_no_command_leaves_a_circle(rig: Rig, name: str) -> None:
    await rig.do(event("first"))
    gc.collect()
    for number in range(3):
        try:
            await rig.do(COMMANDS[name], idempotency=KEYS[number] if name == "created" else None)
        except TowerlogError:
            assert name == "of a run that is not there"
    gc.set_debug(gc.DEBUG_SAVEALL)
    assert gc.collect() == 0, sorted({type(one).__name__ for one in gc.garbage})
