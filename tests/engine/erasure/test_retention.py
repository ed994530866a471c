"""Policies: by age, by size, of each kind; in steps; and what a tombstone without a word for it is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import msgspec
import pytest

from tests.engine.erasure.erasure import keep, marks_in_files
from tests.support.rig import Rig, open_rig
from towerlog.engine.verify import verify_org
from towerlog.model import command as c
from towerlog.model.event import Draft, EventType, RunByForeignId
from towerlog.model.facts import Effects, Erases, Facts
from towerlog.model.retention import EraseRun, EraseThread, RunRetention, SetRetention
from towerlog.model.run import RunRow

DAY_MS = 86_400_000


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as opened:
        yield opened


async def told(rig: Rig, name: str, deltas: int = 3, *, ends: bool = True, text: str = "x" * 100) -> RunRow:
    """A run with some deltas."""
    ref = RunByForeignId(f"steps:{name}", name)
    items = [Draft(EventType.RUN_STARTED, ref, b"{}", Facts(effects=Effects(is_start=True)), agent="a")]
    items += [Draft(EventType.MESSAGE_DELTA, ref, msgspec.json.encode({"text": text}), agent="a")] * deltas
    items += [Draft(EventType.RUN_COMPLETED, ref, b'{"output":"y"}', agent="a")] if ends else []
    await rig.do(c.Append("steps", items))
    return next(row for row in (await rig.store.rows(rig.org)).runs if row.foreign_id == f"steps:{name}")


async def types(rig: Rig, row: RunRow) -> list[str]:
    return [event.type.value for event in await rig.events(row.run_id)]


async def test_what_is_older_than_its_policy_is_erased_and_nothing_else(rig: Rig) -> None:
    old = await told(rig, "old")
    rig.clock.advance(2 * DAY_MS)
    young, open_run = await told(rig, "young"), await told(rig, "open", ends=False)
    await rig.engine.services.retention.sweep()
    assert "erased" not in await types(rig, old), "nothing is erased without a policy"
    await rig.do(SetRetention(Erases.EVENTS, DAY_MS, None))
    [due] = (await rig.do(RunRetention(dry_run=True))).due
    assert due.runs == 1
    await rig.engine.services.retention.sweep()
    assert set(await types(rig, old)) == {"erased", "run.erased"}
    assert "erased" not in await types(rig, young) + await types(rig, open_run)
    rig.clock.advance(2 * DAY_MS)
    await rig.engine.services.retention.sweep()
    assert "erased" not in await types(rig, open_run), "a run that has not ended keeps all"
    assert await verify_org(rig.store, rig.org) == 0


async def test_deltas_go_alone(rig: Rig) -> None:
    row = await told(rig, "r", deltas=4)
    await rig.do(SetRetention(Erases.DELTAS, 60_000, None))
    rig.clock.advance(DAY_MS)
    await rig.engine.services.retention.sweep()
    assert await types(rig, row) == ["run.started", *["erased"] * 4, "run.completed", "run.erased"]
    assert (await rig.run(row.run_id)).deltas_erased_at is not None
    await rig.do(EraseRun(row.run_id))
    assert set(await types(rig, row)) == {"erased", "run.erased"}
    assert await verify_org(rig.store, rig.org) == 0


async def test_by_size_the_oldest_go_until_the_rest_fits(rig: Rig) -> None:
    rows = []
    for number in range(6):
        rows.append(await told(rig, f"r{number}", deltas=40))
        rig.clock.advance(1000)
    await rig.do(SetRetention(Erases.EVENTS, None, 14_000))
    await rig.engine.services.retention.sweep()
    erased = ["erased" in await types(rig, row) for row in rows]
    assert erased == sorted(erased, reverse=True), "the oldest first"
    assert 0 < sum(erased) < len(rows)


async def test_a_long_run_is_erased_in_steps_between_which_others_commit(rig: Rig) -> None:
    row = await told(rig, "long", deltas=900)
    await rig.do(SetRetention(Erases.EVENTS, 60_000, None))
    rig.clock.advance(DAY_MS)
    units: list[int] = []
    erase = type(rig.store.writer).submit

    def counted(pool: object, question: object, *args: object, **named: object) -> object:
        units.append(getattr(question, "__name__", "") == "erase_step")
        return erase(pool, question, *args, **named)

    rig.store.writer.submit = counted.__get__(rig.store.writer)  # type: ignore[method-assign]
    await rig.engine.services.retention.sweep()
    assert sum(units) >= 3
    assert set(await types(rig, row)) == {"erased", "run.erased"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE event SET hash = zeroblob(32) WHERE seq = 2", "its hash does not fit"),
        ("UPDATE event SET recorded_at = 1 WHERE seq = 2", "its hash does not fit"),
        ("UPDATE event SET facts = NULL WHERE seq = 2", "its hash does not fit"),
        ("DELETE FROM event WHERE seq = 2", "seq 3 follows 1"),
        ("DELETE FROM event WHERE type = 'run.erased'", "nothing in"),
    ],
)
async def test_tampering_with_tombstones_is_found(rig: Rig, change: str, words: str) -> None:
    row = await told(rig, "r")
    await rig.do(EraseRun(row.run_id))
    assert await verify_org(rig.store, rig.org) == 0
    db = apsw.Connection(str(rig.store.path))
    db.execute(change)
    db.close()
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) > 0
    assert any(words in one for one in complaints), complaints


async def test_pages_go_back_at_once_where_the_disk_is_nearly_full(rig: Rig) -> None:
    rows = [await told(rig, name, deltas=100, text=os.urandom(5000).hex()) for name in ("first", "second")]

    async def free_pages() -> int:
        await rig.engine.services.retention.sweep()
        return await rig.store.writer.call(lambda db: int(db.pragma("freelist_count")))

    await rig.do(EraseRun(rows[0].run_id))
    assert await free_pages() == 0
    await rig.do(EraseRun(rows[1].run_id))
    assert await free_pages() > 0, "all pages are gone over every ten minutes at most"
    rig.store.space._guard_mib = 1 << 40
    rig.store.space.forget()
    assert rig.store.space.is_low()
    assert await free_pages() == 0


def copy_store(folder: Path, to: Path) -> None:
    """The files of the store, as a kill leaves them."""
    for file in folder.glob("towerlog.db*"):
        (to / file.name).write_bytes(file.read_bytes())


async def test_what_was_erased_right_before_a_kill_is_overwritten_after_the_next_start(tmp_path: Path) -> None:
    """Nothing of it has reached a page but the rows that are left: all else is done by the start that comes then."""
    word = "erasedbeforethekill"
    async with open_rig(tmp_path) as rig:
        for number in range(30):
            await told(rig, f"r{number}", deltas=20, text=f"{word} {number} " + os.urandom(300).hex())
        await rig.do(EraseThread("r3"))
        for number in range(0, 30, 2):
            await rig.do(EraseThread(f"r{number}"))
        killed = tmp_path / "killed"
        killed.mkdir()
        copy_store(tmp_path, killed)
    kept = {f"{word} {number} " for number in range(1, 30, 2) if number != 3}
    async with open_rig(killed) as rig:
        assert await rig.store.unwiped() > 0
        await keep(rig)
        for number in range(30):
            found = marks_in_files(rig.store.path, f"{word} {number} ")
            assert bool(found) == (f"{word} {number} " in kept), number
        assert await rig.store.writer.call(lambda db: int(db.pragma("freelist_count"))) == 0
        assert await rig.store.unwiped() == 0
        await rig.do(EraseThread("r1"))
        assert await rig.store.unwiped() > 0
