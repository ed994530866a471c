"""Long texts that wait for an agent: the row of its run stays small, and every reply that tells one has all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tests.engine.control.test_questions import LEASE_MS, asking, lost, question
from tests.support.backends import FRESH
from tests.support.factories import draft, traced
from tests.support.lookups import looked_up
from tests.support.rig import Rig, open_rig
from tests.support.wait import wait_until_async
from towerlog.engine.control import told_texts
from towerlog.engine.load.misses import MAX_LOOKED_UP
from towerlog.engine.verify import rebuild_org, verify_org
from towerlog.model import command as c
from towerlog.model.event import EventType as E
from towerlog.model.event import RunByForeignId, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.folds import note_name
from towerlog.model.outcome import Replayed, Stored
from towerlog.model.pending import MAX_ANSWERS, MAX_MESSAGES, MAX_PENDING_BYTES, MAX_ROW_TEXT_BYTES
from towerlog.model.run import RunRow
from towerlog.store.values import Kind

LONG = "ü" * 15_000
NAMED = RunByForeignId("sdk:a", "a")
POLL_MS = 3_600_000
MAX_ROW_BYTES = 64 * 1024


@pytest.fixture(params=sorted(FRESH))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, backend=FRESH[request.param](tmp_path)) as opened:
        yield opened


def told(row: RunRow) -> list[str | None]:
    return [one.content for one in row.pending]


def row_bytes(row: RunRow) -> int:
    return len(msgspec.json.encode(row))


async def sound(rig: Rig) -> None:
    """A rebuild gives the same rows."""
    complaints: list[str] = []
    await verify_org(rig.store, rig.org, complaints.append)
    assert complaints == []


async def test_a_long_answer_is_in_each_reply_to_its_agent_and_in_no_row(rig: Rig) -> None:
    run_id = await asking(rig, "one?")
    before = row_bytes(await rig.run(run_id))
    await rig.do(c.GiveInput(run_id, LONG))
    for cold in (False, True, False):
        if cold:
            rig.engine.forget()
        [result] = await rig.append(draft(run=traced("x")))
        assert isinstance(result, Stored)
        assert [one.content for one in result.commands] == [LONG]
        row = await rig.run(run_id)
        assert told(row) == [None]
        assert [one.size() for one in row.pending] == [2 * len(LONG)]
        assert row_bytes(row) - before < 1000
    await sound(rig)
    taken = Facts(effects=Effects(command_id=row.pending[0].command_id))
    [result] = await rig.append(draft(E.COMMAND_ACKNOWLEDGED, traced("x"), facts=taken))
    assert isinstance(result, Stored)
    assert result.commands == ()
    await sound(rig)


@pytest.mark.parametrize("size", [MAX_ROW_TEXT_BYTES, MAX_ROW_TEXT_BYTES + 1])
async def test_a_short_text_is_in_the_row(rig: Rig, size: int) -> None:
    run_id = await asking(rig)
    await rig.do(c.GiveInput(run_id, "x" * size))
    assert told(await rig.run(run_id)) == ["x" * size if size <= MAX_ROW_TEXT_BYTES else None]


async def test_a_text_of_the_same_group_is_told_whole(rig: Rig) -> None:
    run_id = await asking(rig, "one?")
    _, results = await asyncio.gather(rig.do(c.GiveInput(run_id, LONG)), rig.append(draft(run=traced("x"))))
    assert [one.content for one in results[0].commands] == [LONG]


async def test_the_next_worker_gets_what_was_answered_at_length_with_its_claim_and_reports(rig: Rig) -> None:
    run_id = await lost(rig, question("one?", "k1"))
    await rig.do(c.GiveInput(run_id, LONG))
    rig.engine.forget()
    claimed = await rig.do(c.Claim("w2", LEASE_MS))
    assert told(claimed.view.row) == [LONG]
    reported = await rig.do(c.Report(run_id, "w2", []))
    assert told(reported.view.row) == [LONG]
    held = await rig.do(c.Report(run_id, "w2", [], wait_ms=1))
    assert told(held.view.row) == [LONG], "also where it was carried before, and nothing new has come"
    again = await rig.do(c.ClaimRun(run_id, "w2", LEASE_MS))
    assert told(again.view.row) == [LONG]


async def test_a_long_message_ends_a_long_poll_and_is_in_its_reply(rig: Rig) -> None:
    [result] = await rig.append(draft(run=NAMED))
    watching = c.Append("sdk", [], polled=(NAMED,), wait_ms=POLL_MS)
    poll = asyncio.create_task(rig.do(watching))
    await wait_until_async(lambda: bool(rig.engine._polls), "somebody to wait")
    await rig.do(c.GiveInput(result.run_id, LONG))  # type: ignore[union-attr]
    assert [told(one.row) for one in (await poll).polled] == [[LONG]]
    again = await rig.do(msgspec.structs.replace(watching, wait_ms=0))
    assert [told(one.row) for one in again.polled] == [[LONG]]


async def test_a_reply_that_is_made_again_has_long_texts_and_its_ids_have_none(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await lost(rig, question("one?", "k1"))
    await rig.do(c.GiveInput(run_id, LONG))
    [reporting] = await rig.append(draft(run=NAMED))
    await rig.do(c.GiveInput(reporting.run_id, LONG))  # type: ignore[union-attr]
    monkeypatch.setattr(rig.engine._writer.intake, "keep_body", lambda *_: None)
    append = c.Append("steps", [draft(run=NAMED), draft(run=NAMED)], polled=(NAMED,))
    for command in (c.Claim("w2", LEASE_MS), c.Report(run_id, "w2", []), append):
        answers: list[Any] = []

        def encode(outcome: Any, answers: list[Any] = answers) -> tuple[int, bytes]:
            answers.append(outcome)
            return 200, b"kept"

        keyed = c.Idempotency(type(command).__name__, "key", b"digest", encode)
        first = await rig.do(command, idempotency=keyed)
        assert await rig.do(command, idempotency=keyed) == Replayed(200, b"kept")
        assert [msgspec.json.encode(one).count(LONG.encode()) for one in answers] == [
            msgspec.json.encode(first).count(LONG.encode())
        ] * len(answers)
        assert LONG.encode() in msgspec.json.encode(first)
        assert len(answers) == 2
        async with rig.store.begin() as unit:
            [kept] = (await looked_up(unit, Kind.REPLY, (rig.org, f"{keyed.route}\nkey"))).values()
        assert LONG.encode() not in kept.ids


async def test_a_row_with_all_that_may_wait_is_small_and_its_rebuild_the_same(rig: Rig) -> None:
    """As many messages and answers as there may be, of two attempts, together as long as they may be."""
    run_id = await lost(rig, *[question(f"{number}?", f"k{number}") for number in range(MAX_ANSWERS)])
    for one in (await rig.run(run_id)).questions:
        await rig.do(c.GiveInput(run_id, "a" * (MAX_PENDING_BYTES // MAX_ANSWERS), one.question_id))
    await rig.do(c.Claim("w2", LEASE_MS))
    for number in range(MAX_MESSAGES):
        await rig.do(c.GiveInput(run_id, f"{number}".rjust(MAX_PENDING_BYTES // MAX_MESSAGES), type="message"))
    asked = [question(f"{n}?", f"n{n}", run=RunById(run_id)) for n in range(MAX_ANSWERS)]
    await rig.do(c.Report(run_id, "w2", asked))
    for one in (await rig.run(run_id)).questions:
        await rig.do(c.GiveInput(run_id, "b" * (MAX_PENDING_BYTES // MAX_ANSWERS), one.question_id))
    row = await rig.run(run_id)
    assert sum(one.size() for one in row.pending) > 3 * MAX_PENDING_BYTES - 1000
    assert row_bytes(row) < MAX_ROW_BYTES
    reported = await rig.do(c.Report(run_id, "w2", []))
    assert sum(len(text or "") for text in told(reported.view.row)) > 3 * MAX_PENDING_BYTES - 1000
    await sound(rig)
    before = await rig.run(run_id)
    await rig.engine.stop()
    await rebuild_org(rig.store, rig.org)
    assert await rig.run(run_id) == before
    await rig.engine.start()


async def test_a_group_reads_so_many_texts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other commands of it go on in the next one."""
    refs = [RunByForeignId(f"sdk:{number}", f"{number}") for number in range(6)]
    for ref in refs:
        [result] = await rig.append(draft(run=ref))
        await rig.do(c.GiveInput(result.run_id, LONG))  # type: ignore[union-attr]
    monkeypatch.setattr(told_texts, "BYTES_OF_LOOK_UP", 2 * 2 * len(LONG) // MAX_LOOKED_UP)
    rig.engine.forget()
    before = rig.engine.figures()["groups"]
    watching = [rig.do(c.Append("sdk", [], polled=(ref,))) for ref in refs]
    for outcome in await asyncio.gather(*watching):
        assert [told(one.row) for one in outcome.polled] == [[LONG]]
    assert rig.engine.figures()["groups"] - before == 3


async def test_two_nodes_tell_the_same(tmp_path: Path) -> None:
    backend = FRESH["postgres"](tmp_path)
    async with open_rig(tmp_path, backend=backend) as one, open_rig(tmp_path, backend=backend) as two:
        run_id = await asking(one, "one?")
        await two.do(c.GiveInput(run_id, LONG))
        for node in (one, two, one):
            [result] = await node.append(draft(run=traced("x")))
            assert [it.content for it in result.commands] == [LONG]  # type: ignore[union-attr]


async def test_an_agent_is_told_which_text_cannot_be_read_any_more(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        run_id = await asking(rig, "one?")
        await rig.do(c.GiveInput(run_id, LONG))
        db = apsw.Connection(str(rig.store.path))
        db.execute("UPDATE event SET data = '{}' WHERE type = 'run.input'")
        db.close()
        [result] = await rig.append(draft(run=traced("x")))
        assert isinstance(result, Stored)
        [command] = result.commands
        assert command.content is not None
        assert f"event {command.command_id} of the run" in command.content


async def test_a_row_of_an_earlier_version_has_its_texts_and_no_fault(tmp_path: Path) -> None:
    """Rows from before had long texts in them: these are told as they are, and verify minds none."""
    async with open_rig(tmp_path) as rig:
        run_id = await asking(rig, "one?")
        await rig.do(c.GiveInput(run_id, LONG))
        row = await rig.run(run_id)
        old = msgspec.structs.replace(row.pending[0], content=LONG, text_bytes=0)
        doc = msgspec.json.encode(msgspec.structs.replace(row, pending=(old,)))
        db = apsw.Connection(str(rig.store.path))
        db.execute("UPDATE run SET doc = ? WHERE run = ?", (doc, row.run))
        db.execute("DELETE FROM meta WHERE name = ?", (note_name(rig.org),))
        db.close()
        rig.engine.forget()
        assert told(await rig.run(run_id)) == [LONG]
        [result] = await rig.append(draft(run=traced("x")))
        assert [one.content for one in result.commands] == [LONG]  # type: ignore[union-attr]
        await sound(rig)
