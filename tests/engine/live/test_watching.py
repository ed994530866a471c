"""Rows that change, on an engine without a transport: rounds, rings, places to come back to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.dialects.base import RowStyle
from towerlog.engine.live import channel as channels
from towerlog.engine.live.reader import WatchingReader
from towerlog.errors import Invalid, StorageFailed
from towerlog.model.command import RegisterAgent
from towerlog.model.event import EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.question import FollowRows, RowFilter, RowKind, RunFilter
from towerlog.model.run import Status

E = EventType
DEADLINE_S = 60
RUNS = RowFilter(frozenset({RowKind.RUN}))


def _row(kind: RowKind, view: Any, _credits: int) -> bytes:
    if kind is RowKind.RUN:
        return json.dumps(["run", view.row.trace_id, view.row.last_seq]).encode() + b"\n"
    return json.dumps([kind.value, view.row.name if kind is RowKind.AGENT else ""]).encode() + b"\n"


def _line(*words: object) -> bytes:
    return json.dumps(words).encode() + b"\n"


STYLE = RowStyle(
    row=_row,
    removed=lambda kind, key: _line("removed", kind.value, key),
    place=lambda cursor: _line("id", cursor),
    snapshot=lambda cursor, resumed, whole: _line("snapshot", cursor, resumed),
    position=lambda cursor: _line("position", cursor),
    gap=lambda reason: _line("gap", reason),
)


async def watch(rig: Rig, after: str | None = None, wanted: RowFilter = RUNS, style: RowStyle = STYLE) -> Any:
    return await rig.engine.follow(rig.principal, FollowRows(wanted, after, 1000), style)


async def read(reader: WatchingReader) -> list[list[Any]]:
    """The next lines."""
    chunk = await asyncio.wait_for(reader.read(), DEADLINE_S)
    assert chunk is not None
    return [json.loads(line) for line in chunk.splitlines()]


async def read_until(reader: WatchingReader, wanted: list[Any]) -> list[list[Any]]:
    """All lines up to this one."""
    found: list[list[Any]] = []
    while wanted not in found:
        found += await read(reader)
    return found


async def append(rig: Rig, trace: str = "x", count: int = 1) -> None:
    await rig.append(*(draft(E.STEP, traced(trace), agent="a") for _ in range(count)))


async def test_many_changes_are_one_row_in_its_last_state(rig: Rig) -> None:
    reader = await watch(rig)
    [place, snapshot] = await read(reader)
    assert (place[0], snapshot) == ("id", ["snapshot", place[1], False])
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(20):
        await append(rig, count=5)
    lines = await read_until(reader, ["run", "x", 100])
    took_s = loop.time() - began
    assert [line for line in lines if line[0] == "run"][-1] == ["run", "x", 100]
    assert len([line for line in lines if line[0] == "run"]) <= 4 * took_s + 2
    assert lines[-2][0] == "id", "the place is told before the last row, so that both come or neither"
    reader.close()


async def test_what_a_row_was_for_a_moment_may_have_been_seen(rig: Rig) -> None:
    """Commits may be told together: whoever has read the list in between is told that the row has left it."""
    running = RowFilter(frozenset({RowKind.RUN}), statuses=frozenset({Status.RUNNING}))
    queued = RowFilter(frozenset({RowKind.RUN}), statuses=frozenset({Status.QUEUED}))
    readers = [await watch(rig, wanted=wanted) for wanted in (running, queued)]
    for reader in readers:
        await read(reader)
    reading = asyncio.create_task(read(readers[1]))
    begins = Facts(effects=Effects(is_start=True))
    await rig.append(draft(E.RUN_STARTED, traced("x"), facts=begins), draft(E.RUN_COMPLETED, traced("x")))
    assert ["run", "x", 2] in await read(readers[0])
    readers[1].wake()
    assert [line[0] for line in await reading] == ["id", "position"]
    for reader in readers:
        reader.close()


async def test_the_place_moves_only_with_the_last_row_of_a_sweep(rig: Rig, monkeypatch) -> None:
    monkeypatch.setattr(channels, "ROUND_ROWS", 2)
    reader = await watch(rig)
    [[_, before], _] = await read(reader)
    await rig.append(*(draft(E.STEP, traced(f"t{n}"), agent="a") for n in range(7)))
    lines: list[list[Any]] = []
    while len([line for line in lines if line[0] == "run"]) < 7:
        lines += await read(reader)
    assert [line[0] for line in lines] == ["run"] * 6 + ["id", "run"]
    assert lines[-2][1] != before
    reader.close()


async def test_who_is_told_of_nothing_learns_how_far_it_has_come(rig: Rig) -> None:
    nothing, all_runs = await watch(rig, wanted=RowFilter(thread_id="nobody")), await watch(rig)
    [[_, before], _] = await read(nothing)
    await read(all_runs)
    reading = asyncio.create_task(read(nothing))
    await append(rig)
    [[_, place], _] = await read_until(all_runs, ["run", "x", 1])
    nothing.take = lambda chunk: True
    nothing.tell()
    assert not reading.done()
    nothing.wake()
    assert await reading == [["id", place], ["position", place]]
    assert place != before
    for reader in (nothing, all_runs):
        reader.close()


async def test_who_comes_back_is_told_what_has_changed(rig: Rig) -> None:
    await append(rig, "old")
    reader = await watch(rig)
    [[_, place], _] = await read(reader)
    reader.close()
    await append(rig, "x")
    await append(rig, "y")
    again = await watch(rig, place)
    [[_, told], [_, now, resumed]] = await read(again)
    assert (told, resumed) == (place, True), "whoever is cut off here begins at the same place"
    lines = await read_until(again, ["position", now])
    assert sorted(line[1] for line in lines if line[0] == "run") == ["x", "y"]
    assert lines[-2] == ["id", now]
    assert len([line for line in lines if line[0] == "position"]) == 1
    again.close()


async def test_what_changes_without_an_event_is_sent_to_all_who_come_back(rig: Rig) -> None:
    agents = RowFilter(frozenset({RowKind.AGENT}))
    reader = await watch(rig, wanted=agents)
    [[_, place], _] = await read(reader)
    reader.close()
    await rig.do(RegisterAgent("silent"))
    again = await watch(rig, place, agents)
    await read(again)
    await read_until(again, ["agent", "silent"])
    again.close()


async def test_one_behind_the_ring_is_told_the_last_states_from_the_store(rig: Rig) -> None:
    slow, quick = await watch(rig), await watch(rig)
    [channel] = rig.engine._rows._channels.values()
    await read(slow)
    await read(quick)
    for trace in ("x", "y"):
        await append(rig, trace)
        await read_until(quick, ["run", trace, 1])
    channel.forget()
    lines = await read_until(slow, ["position", (await read_nothing(rig))])
    assert ["snapshot", lines[0][1], True] not in lines[2:]
    assert sorted(line[1] for line in lines if line[0] == "run") == ["x", "y"]
    await append(rig, "z")
    await read_until(slow, ["run", "z", 1])
    for reader in (slow, quick):
        reader.close()


async def read_nothing(rig: Rig) -> str:
    """The place where the log ends now."""
    reader = await watch(rig)
    [_, [_, cursor, _]] = await read(reader)
    reader.close()
    return str(cursor)


async def test_more_changes_than_are_noted_are_a_gap(rig: Rig, monkeypatch) -> None:
    monkeypatch.setattr(channels, "MAX_CHANGED", 10)
    monkeypatch.setattr("towerlog.engine.live.channels.MAX_CAUGHT_UP", 5)
    reader = await watch(rig)
    await read(reader)
    await rig.append(*(draft(E.STEP, traced(f"t{n}"), agent="a") for n in range(12)))
    lines: list[list[Any]] = []
    while not any(line[0] == "snapshot" for line in lines):
        lines += await read(reader)
    assert any(line[0] == "gap" for line in lines)
    assert lines[-1] == ["snapshot", await read_nothing(rig), False]
    await append(rig, "after")
    await read_until(reader, ["run", "after", 1])
    reader.close()


async def test_more_missed_events_than_are_looked_at_are_a_gap(rig: Rig, monkeypatch) -> None:
    monkeypatch.setattr("towerlog.engine.live.channels.MAX_BEHIND", 5)
    place = await read_nothing(rig)
    await append(rig, count=6)
    reader = await watch(rig, place)
    [gap, _, snapshot] = await read(reader)
    assert (gap[0], snapshot[2]) == ("gap", False)
    reader.close()


async def test_a_trimmed_stretch_is_a_gap(rig: Rig) -> None:
    place = await read_nothing(rig)
    await append(rig, count=6)
    [row] = await rig.store.runs(rig.org, RunFilter(), 1, None)
    await rig.store.run_trim(rig.org, row.run, 4)
    reader = await watch(rig, place)
    assert (await read(reader))[0][0] == "gap"
    reader.close()


async def test_a_large_row_that_is_let_go_is_read_again(rig: Rig, monkeypatch) -> None:
    reader = await watch(rig)
    [[_, place], _] = await read(reader)
    await append(rig)
    first = await read(reader)
    reader.put_back()
    assert await read(reader) == first
    reader.close()
    again = await watch(rig, place)
    await read(again)
    monkeypatch.setattr("towerlog.engine.live.reader.MAX_CHUNK_BYTES", 1)
    backlog = await read(again)
    again.put_back()
    assert await read(again) == backlog
    again.close()


async def test_a_row_that_cannot_be_shown_keeps_no_other_back(rig: Rig, caplog) -> None:
    def broken(kind: RowKind, view: Any, credits_per_dollar: int) -> bytes:
        if view.row.trace_id == "bad":
            raise ValueError("no")
        return _row(kind, view, credits_per_dollar)

    reader = await watch(rig, style=msgspec.structs.replace(STYLE, row=broken))
    await read(reader)
    await rig.append(*(draft(E.STEP, traced(trace), agent="a") for trace in ("bad", "good")))
    await read_until(reader, ["run", "good", 1])
    reader.close()


async def test_a_round_that_failed_is_tried_again(rig: Rig, monkeypatch) -> None:
    monkeypatch.setattr(channels, "RETRY_MS", 1)
    reader = await watch(rig)
    await read(reader)
    [channel] = rig.engine._rows._channels.values()
    load, failures = channel.load, iter([StorageFailed("no"), StorageFailed("no")])

    async def fails(keys: Any) -> Any:
        for failure in failures:
            raise failure
        return await load(keys)

    monkeypatch.setattr(channels.RowChannel, "load", lambda self, keys: fails(keys))
    await append(rig)
    await read_until(reader, ["run", "x", 1])
    reader.close()


async def test_nobody_who_watches_costs_nothing_and_a_channel_ends_with_its_last_reader(rig: Rig) -> None:
    first, second = await watch(rig), await watch(rig)
    [channel] = rig.engine._rows._channels.values()
    task = channel._task
    first.close()
    assert rig.engine._rows.readers == 1
    second.close()
    second.close()
    assert not rig.engine._rows._channels
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stop_ends_readers(rig: Rig) -> None:
    reader = await watch(rig)
    await read(reader)
    reading = asyncio.create_task(reader.read())
    await asyncio.sleep(0)
    await rig.engine.stop()
    assert await reading is None
    reader.close()


async def test_what_is_no_cursor_is_refused(rig: Rig) -> None:
    with pytest.raises(Invalid):
        await watch(rig, "x-y")
    assert not rig.engine._rows._channels


async def test_organisations_have_channels_of_their_own(rig: Rig) -> None:
    other = await rig.make_org("other")
    mine = await watch(rig)
    theirs = await rig.engine.follow(other, FollowRows(RUNS, None, 1000), STYLE)
    await read(theirs)
    await read(mine)
    reading = asyncio.create_task(read(theirs))
    await append(rig)
    await read_until(mine, ["run", "x", 1])
    theirs.wake()
    assert await reading == []
    for reader in (theirs, mine):
        reader.close()


async def test_who_does_not_follow_is_told_what_there_is(rig: Rig) -> None:
    place = await read_nothing(rig)
    await append(rig)
    for after, rows in ((place, [["run", "x", 1]]), (None, [])):
        reader = await rig.engine.follow(rig.principal, FollowRows(RUNS, after, 1000, follow=False), STYLE)
        lines: list[list[Any]] = []
        while (chunk := await asyncio.wait_for(reader.read(), DEADLINE_S)) is not None:
            lines += [json.loads(line) for line in chunk.splitlines()]
        assert [line for line in lines if line[0] == "run"] == rows
        reader.close()
