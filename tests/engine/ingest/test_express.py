"""The short way: what goes through it is stored exactly as the long way would have stored it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.engine.audit import verify_org
from towerlog.engine.ingest import append
from towerlog.model.event import Draft, EventType
from towerlog.model.event import Event as Stored
from towerlog.model.facts import Effects, Facts
from towerlog.model.usage import Usage, UsageReport

E = EventType


def story() -> list[Draft]:
    """Plain events among those that are not."""
    x, y = traced("x"), traced("y")
    report = Facts(effects=Effects(report=UsageReport(Usage(input_tokens=3))))
    return [
        draft(E.STEP, x),
        draft(E.STEP, x, agent="a"),
        draft(E.STEP, x, event_id="1"),
        draft(E.STEP, x, event_id="1"),
        draft(E.OTHER, x, facts=Facts(name="own.type")),
        draft(E.OTHER, x, facts=Facts(effects=Effects(rate_limited=True))),
        draft(E.OTHER, x, facts=Facts(effects=Effects(beat=True))),
        draft(E.OTHER, x, facts=Facts(effects=Effects(idle=True))),
        draft(E.STEP, x),
        draft(E.MODEL_CALL, x, facts=report),
        draft(E.MESSAGE_DELTA, y, agent="b", occurred_at=2**50),
        draft(E.STEP, y, facts=Facts(name="named", effects=Effects(model="m"))),
        draft(E.STEP, y, natural_key="once"),
        draft(E.STEP, y, natural_key="once"),
        draft(E.STEP, y, facts=Facts(client_id="c", client_seq=1)),
        draft(E.STEP, y, facts=Facts(client_id="c", client_seq=4)),
        draft(E.RUN_COMPLETED, x),
        draft(E.STEP, x),
        draft(E.STEP, x, event_id="1"),
        draft(E.STEP, x, facts=Facts(client_id="c", client_seq=1)),
        draft(E.LANE_REPORT, y, data={"phase": "p"}),
    ]


async def tell(rig: Rig, at_once: int) -> list[Stored]:
    """Appends the story in groups of this size; the log."""
    items = story()
    for first in range(0, len(items), at_once):
        await rig.append(*items[first : first + at_once])
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    return await rig.log()


@pytest.mark.parametrize("at_once", [1, 4, 100])
async def test_both_ways_lead_to_the_same_log_and_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """The hashes cover every byte of the events, the audit every row."""
    taken = 0
    short = append.append_plain

    def counted(*arguments: object) -> object:
        nonlocal taken
        result = short(*arguments)  # type: ignore[arg-type]
        taken += result is not None
        return result

    monkeypatch.setattr(append, "append_plain", counted)
    async with open_rig(tmp_path / "short") as rig:
        quick = await tell(rig, at_once)
        rows = await rig.store.rows(rig.org)
        assert {row.clients["c"].received for row in rows.runs} == {((1, 1),), ((1, 1), (4, 4))}
    assert taken >= 3, "the short way was not taken"
    monkeypatch.setattr(append, "append_plain", lambda *_: None)
    async with open_rig(tmp_path / "long") as rig:
        assert await tell(rig, at_once) == quick
        assert (await rig.store.rows(rig.org)).usage == rows.usage
        assert (await rig.store.rows(rig.org)).agents == rows.agents
