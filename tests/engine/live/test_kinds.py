"""What a screen is told of approvals and alerts: when they begin, how they end, and whoever was away meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.engine.alerts.alerting import failure, make
from tests.engine.live.test_watching import STYLE, append, read, read_nothing, read_until, watch
from tests.engine.timers.test_approvals import HOUR_MS, calls, question
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.live import rows
from towerlog.engine.live.reader import WatchingReader
from towerlog.model.alert import AcknowledgeAlert, AlertTrigger, MuteAlert
from towerlog.model.approval import AnswerApproval, ApprovalDecision, ApprovalRef, OnExpiry
from towerlog.model.command import KillRun, SteerRun
from towerlog.model.event import EventType as E
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.question import RowFilter, RowKind

APPROVALS, ALERTS = (RowFilter(frozenset({kind})) for kind in (RowKind.APPROVAL, RowKind.ALERT))


def _row(kind: RowKind, view: Any, credits_per_dollar: int) -> bytes:
    if kind is RowKind.ALERT:
        row = view.alert
        shown = [row.episode, row.state.value, row.acknowledged_at is not None, row.muted_until is not None]
    elif kind is RowKind.APPROVAL:
        state = "open" if view.closed is None else view.closed.state.value
        shown = [view.row.seq, state, view.run.status.value, view.row.expired]
    else:
        return STYLE.row(kind, view, credits_per_dollar)
    return msgspec.json.encode([kind.value, *shown]) + b"\n"


SHOWN = msgspec.structs.replace(STYLE, row=_row)


async def screen(rig: Rig, wanted: RowFilter, after: str | None = None) -> WatchingReader:
    """One that watches, past its snapshot."""
    reader: WatchingReader = await watch(rig, after, wanted, SHOWN)
    await read(reader)
    return reader


async def told(reader: WatchingReader, wanted: list[Any], name: str) -> list[list[Any]]:
    """All rows of a kind up to this one."""
    return [line for line in await read_until(reader, wanted) if line[0] in (name, "removed")]


async def test_a_question_is_told_of_when_it_is_asked_and_when_it_is_answered(rig: Rig) -> None:
    reader = await screen(rig, APPROVALS)
    [asked] = await rig.append(question("x", OnExpiry.WAIT))
    await told(reader, ["approval", asked.seq, "open", "waiting_for_input", False], "approval")
    rig.clock.advance(HOUR_MS)
    await rig.engine.sweep()
    await told(reader, ["approval", asked.seq, "open", "waiting_for_input", True], "approval")
    await rig.do(SteerRun(asked.run_id, "pause"))
    await rig.append(draft(E.RUN_PAUSED, traced("x")))
    await told(reader, ["approval", asked.seq, "open", "paused", True], "approval")
    await rig.do(AnswerApproval(ApprovalRef(asked.run_id, asked.seq), content="yes"))
    lines: list[list[Any]] = []
    while not (shown := [line for line in lines if line[0] == "approval"]):
        lines += await read(reader)
    assert [line[1:3] for line in shown] == [[asked.seq, "answered"]]
    reader.close()


@pytest.mark.parametrize("decision", list(ApprovalDecision))
async def test_tool_calls_are_told_of_until_somebody_decides(rig: Rig, decision: ApprovalDecision) -> None:
    reader = await screen(rig, APPROVALS)
    [asked] = await rig.append(calls("x", OnExpiry.WAIT))
    assert await told(reader, ["approval", asked.seq, "open", "waiting_for_input", False], "approval") == [
        ["approval", asked.seq, "open", "waiting_for_input", False]
    ], "it opens and its run waits in one commit: one row"
    await rig.do(AnswerApproval(ApprovalRef(asked.run_id, asked.seq, 1), decision))
    state = "approved" if decision is ApprovalDecision.APPROVE else "denied"
    await told(reader, ["approval", asked.seq, state, "running", False], "approval")
    reader.close()


async def test_the_end_of_a_run_is_the_end_of_all_that_it_asks(rig: Rig) -> None:
    asked = await rig.append(calls("x", OnExpiry.WAIT, 1), question("x", OnExpiry.WAIT))
    plain = draft(E.CHECKPOINT, traced("x"), facts=Facts(effects=Effects(checkpoint=CheckpointFacts(0, "in_progress"))))
    await rig.append(plain)
    reader = await screen(rig, RowFilter(frozenset({RowKind.RUN, RowKind.APPROVAL})))
    await rig.do(KillRun(asked[0].run_id))
    last_seq = (await rig.run(asked[0].run_id)).last_seq
    lines = await read_until(reader, ["run", "x", last_seq])
    assert sorted(line[1:3] for line in lines if line[0] == "approval") == [[one.seq, "ended"] for one in asked]
    reader.close()


async def test_tool_calls_that_others_take_the_place_of_are_withdrawn(rig: Rig) -> None:
    reader = await screen(rig, APPROVALS)
    [first] = await rig.append(calls("x", OnExpiry.WAIT))
    await told(reader, ["approval", first.seq, "open", "waiting_for_input", False], "approval")
    other = calls("x", OnExpiry.WAIT)
    [second] = await rig.append(msgspec.structs.replace(other, data=b'{"pending_tool_calls":[{"id":"c2"}]}'))
    lines: list[list[Any]] = []
    while ["approval", second.seq, "open", "waiting_for_input", False] not in lines or len(lines) < 3:
        lines += await read(reader)
    assert ["approval", first.seq, "withdrawn", "waiting_for_input", False] in lines
    reader.close()


async def test_who_comes_back_is_told_of_all_that_is_open_and_of_nothing_else(rig: Rig) -> None:
    asked = await rig.append(question("x", OnExpiry.WAIT), calls("y", OnExpiry.WAIT), question("z", OnExpiry.WAIT))
    place = await read_nothing(rig)
    await rig.do(AnswerApproval(ApprovalRef(asked[0].run_id, asked[0].seq), content="yes"))
    reader = await screen(rig, APPROVALS, place)
    lines = await told(reader, ["position", await read_nothing(rig)], "approval")
    assert sorted(line[1:3] for line in lines) == sorted([one.seq, "open"] for one in asked[1:])
    reader.close()


async def test_large_ones_are_read_a_few_at_a_time(rig: Rig, monkeypatch) -> None:
    place = await read_nothing(rig)
    reader = await screen(rig, APPROVALS)
    monkeypatch.setattr(rows, "MAX_CHUNK_BYTES", 1)
    looked_at = rows_of_each_load(monkeypatch)
    asked = await rig.append(*(question("x", OnExpiry.WAIT) for _ in range(5)))
    for one in (reader, await screen(rig, APPROVALS, place)):
        seqs: list[int] = []
        while sorted(seqs) != [each.seq for each in asked]:
            seqs += [line[1] for line in await read(one) if line[0] == "approval"]
        one.close()
    assert max(looked_at) <= 2


def rows_of_each_load(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many approvals each load has read."""
    counts: list[int] = []
    load = rows._load_approvals

    async def counted(*given: Any) -> Any:
        found = await load(*given)
        counts.append(len(found.rows))
        return found

    watched = msgspec.structs.replace(rows.WATCHED[RowKind.APPROVAL], load=counted)
    monkeypatch.setitem(rows.WATCHED, RowKind.APPROVAL, watched)
    return counts


async def test_an_alert_is_told_of_with_all_that_becomes_of_it(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR)
    reader = await screen(rig, ALERTS)
    await rig.append(failure("x"))
    await told(reader, ["alert", 1, "ALERT", False, False], "alert")
    [alert] = await rig.store.alerts(rig.org, 9, None, None, None)
    await rig.do(MuteAlert(alert.alert_id, 60_000))
    await told(reader, ["alert", 1, "ALERT", False, True], "alert")
    await rig.do(AcknowledgeAlert(alert.alert_id))
    await told(reader, ["alert", 1, "OK", True, True], "alert")
    reader.close()


async def test_who_comes_back_is_told_of_alerts_that_have_changed_without_an_event(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR)
    await rig.append(failure("x"))
    [alert] = await rig.store.alerts(rig.org, 9, None, None, None)
    await append(rig, "elsewhere")
    place = await read_nothing(rig)
    unchanged = await screen(rig, ALERTS, place)
    assert await told(unchanged, ["position", place], "alert") == []
    await rig.do(MuteAlert(alert.alert_id, 60_000))
    changed = await screen(rig, ALERTS, place)
    assert await told(changed, ["position", place], "alert") == [["alert", 1, "ALERT", False, True]]
    for reader in (unchanged, changed):
        reader.close()


@pytest.mark.parametrize("wanted", [APPROVALS, ALERTS])
async def test_more_than_are_sent_again_are_a_gap(rig: Rig, monkeypatch, wanted: RowFilter) -> None:
    monkeypatch.setattr(rows, "MAX_UNTRACED", 1)
    await make(rig, AlertTrigger.ERROR)
    place = await read_nothing(rig)
    for trace in ("x", "y"):
        await rig.append(question(f"q{trace}", OnExpiry.WAIT), failure(trace))
    reader = await watch(rig, place, wanted, SHOWN)
    assert (await read(reader))[0][0] == "gap"
    reader.close()


async def test_filters_find_the_run_and_its_agent(rig: Rig) -> None:
    await make(rig, AlertTrigger.ERROR)
    both = frozenset({RowKind.APPROVAL, RowKind.ALERT})
    mine = await screen(rig, RowFilter(both, agent="mine"))
    [theirs] = await rig.append(msgspec.structs.replace(question("x", OnExpiry.WAIT), agent="theirs"))
    of_run = await screen(rig, RowFilter(both, run_id=theirs.run_id, statuses=frozenset()))
    await rig.append(failure("x", agent="theirs"), failure("y", agent="mine"))
    assert [line[0] for line in await told(mine, ["alert", 1, "ALERT", False, False], "alert")] == ["alert"]
    lines: list[list[Any]] = []
    while {line[0] for line in lines} < {"approval", "alert"}:
        lines += await read(of_run)
    for reader in (mine, of_run):
        reader.close()
