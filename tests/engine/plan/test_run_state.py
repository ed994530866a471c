"""A run in a group: plain events carried forward and folded at once leave what one fold each would have left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import draft, event, run_row, traced
from tests.support.fakes import START_MS
from tests.support.rig import Rig, open_rig
from towerlog.engine.plan.run_state import RunState
from towerlog.engine.verify import verify_org
from towerlog.model.event import Draft, EventType
from towerlog.model.event import Event as Stored
from towerlog.model.facts import Effects, Facts
from towerlog.model.run import MAX_UNPLACED, RunRow
from towerlog.model.usage import Usage, UsageReport
from towerlog.projections import runs as run_fold
from towerlog.projections.usage import HOUR_MS, hour_of

E = EventType


def run_state_of(row: RunRow) -> RunState:
    return RunState(row, row, row.last_seq, row.last_hash, row.open_tools)


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
        draft(E.STEP, x, facts=Facts(by_other=True)),
        draft(E.TOOL_CALL, x, facts=Facts(tool="sh", by_other=True)),
        draft(E.STEP, x),
        draft(E.MODEL_CALL, x, facts=report),
        draft(E.MESSAGE_DELTA, y, agent="b", occurred_at=2**50),
        draft(E.STEP, y, facts=Facts(name="named", effects=Effects(model="m"))),
        draft(E.STEP, y, natural_key="once"),
        draft(E.STEP, y, natural_key="once"),
        draft(E.STEP, y, facts=Facts(client_id="c", client_seq=1)),
        draft(E.STEP, y, facts=Facts(client_id="c", client_seq=4)),
        draft(E.STEP, y, facts=Facts(client_id="c", client_seq=5, client_key="k")),
        draft(E.STEP, y, facts=Facts(client_id="c", client_seq=6)),
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


async def test_how_events_are_grouped_changes_nothing(tmp_path: Path) -> None:
    """The hashes cover every byte of the events, `verify` every row: one by one, some, or all of them at once."""
    logs, rows = [], []
    for at_once in (1, 4, 100):
        async with open_rig(tmp_path / str(at_once)) as rig:
            logs.append(await tell(rig, at_once))
            rows.append(await rig.store.rows(rig.org))
    assert logs[0] == logs[1] == logs[2]
    assert {row.clients["c"].received for row in rows[0].runs} == {((1, 1),), ((1, 1), (4, 6))}
    for other in rows[1:]:
        assert (other.runs, other.usage, other.agents) == (rows[0].runs, rows[0].usage, rows[0].agents)


numbers = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 12), st.none() | st.tuples(st.integers(1, 9), st.integers(0, 3))),
    max_size=30,
)


@given(numbers)
def test_numbers_that_are_brought_in_at_once_leave_the_same_ledgers(sent: list[Any]) -> None:
    """In any order, with repeats and with numbers given up: as if each had been folded by itself."""
    single, run_state = run_row(), run_state_of(run_row())
    for number, (client, seq, dropped) in enumerate(sent, start=1):
        lost = None if dropped is None else (dropped[0], sum(dropped))
        facts = Facts(client_id=client, client_seq=seq, client_dropped=lost)
        one = event(number, number, facts=facts, facts_json=b"{}", recorded_at=START_MS)
        single = run_fold.fold(single, one, None)
        run_state.take_plain(one, "a", 1)
    assert run_state.settled().clients == single.clients


plain = st.tuples(
    st.sampled_from([E.TOOL_CALL, E.TOOL_RESULT, E.MESSAGE_DELTA]),
    st.sampled_from("cd"),
    st.sampled_from("ab"),
    st.integers(0, MAX_UNPLACED),
)
"""Kind, tool call id, agent, hours ago."""


@given(st.lists(plain, max_size=40))
def test_plain_events_at_once_move_what_each_of_them_would(told: list[tuple[EventType, str, str, int]]) -> None:
    """Past the bound of remembered cells too."""
    # Its first event was not a plain one.
    row = run_row(agent="a", idle=True, silent_at=5, last_seq=1)
    single, run_state = row, run_state_of(row)
    for number, (kind, call_id, agent, hours) in enumerate(told, start=2):
        facts, occurred_at = Facts(tool="t", tool_call_id=call_id), START_MS - hours * HOUR_MS
        one = event(number, number, type=kind, facts=facts, recorded_at=START_MS, occurred_at=occurred_at)
        single = run_fold.fold(single, one, agent)
        run_state.take_plain(one, agent, hour_of(one))
    assert run_state.settled() == single
    assert run_state.settled() is run_state.row
