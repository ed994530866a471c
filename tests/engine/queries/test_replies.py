"""Replies after the commit: whole, as new as it, made again of their ids; and no reader is waited for by the writer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import msgspec
import pytest

from tests.support.factories import draft
from tests.support.lookups import looked_up
from tests.support.rig import Rig
from tests.support.wait import DEADLINE_S, wait_until_async
from towerlog.model.command import (
    Append,
    CancelRun,
    Claim,
    ClaimRun,
    CreateKey,
    CreateRun,
    CreateThread,
    Decide,
    Finish,
    GiveInput,
    Idempotency,
    KillRun,
    RegisterAgent,
    Release,
    Report,
    RetryRun,
    SteerRun,
)
from towerlog.model.event import Draft, EventType, History, RunByForeignId, RunById, RunByTrace
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import Claimed, KeyMinted, PersonaView, Placed, Replayed, RouteView, Stored
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.principal import Scope
from towerlog.model.question import GetCheckpoint
from towerlog.model.run import Status
from towerlog.store.sqlite.connections.pools import Where
from towerlog.store.sqlite.store import READERS
from towerlog.store.values import Kind

LEASE_MS = 60_000


def checkpoint(run_id: str, step: int, count: int, metas: bool = True, **fields: Any) -> Draft:
    """A checkpoint whose history has `count` messages."""
    messages = [b'{"n":%d}' % n for n in range(count)]
    meta = [b'{"ts":%d}' % n for n in range(count)] if metas else None
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(step, "in_progress", length=count, has_meta=metas)))
    figures = b'{"step_index":%d,"count":%d}' % (step, count)
    return Draft(EventType.CHECKPOINT, RunById(run_id), figures, facts, history=History(messages, meta), **fields)


async def test_a_claim_sees_the_checkpoint_that_is_committed_with_it(rig: Rig) -> None:
    """Its older messages are stored already, its newer ones are not; in the second round the other way round."""
    run_id = (await rig.do(CreateRun("t", input=b'"go"'))).run_id
    await rig.do(ClaimRun(run_id, "one", LEASE_MS))
    await rig.do(Report(run_id, "one", [checkpoint(run_id, 1, 3)]))
    before = rig.engine.figures()["groups"]
    *_, claimed = await asyncio.gather(
        rig.do(Report(run_id, "one", [checkpoint(run_id, 2, 5)])),
        rig.do(Release(run_id, "one")),
        rig.do(ClaimRun(run_id, "two", LEASE_MS)),
    )
    assert rig.engine.figures()["groups"] == before + 1, "the three were not committed together"
    assert isinstance(claimed, Claimed)
    assert claimed.checkpoint == await rig.do(GetCheckpoint(run_id, 2))
    assert claimed.checkpoint is not None
    assert claimed.checkpoint.history == [b'{"n":%d}' % n for n in range(5)]
    assert claimed.checkpoint.history_meta == [b'{"ts":%d}' % n for n in range(5)]
    assert claimed.checkpoint.figures == b'{"step_index":2,"count":5}'


async def test_an_older_step_beside_the_claim_does_not_hide_the_newest(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"))).run_id
    await rig.do(ClaimRun(run_id, "one", LEASE_MS))
    await rig.do(Report(run_id, "one", [checkpoint(run_id, 7, 2, metas=False)]))
    *_, claimed = await asyncio.gather(
        rig.do(Report(run_id, "one", [checkpoint(run_id, 3, 1)])),
        rig.do(Release(run_id, "one")),
        rig.do(ClaimRun(run_id, "two", LEASE_MS)),
    )
    assert claimed.checkpoint == await rig.do(GetCheckpoint(run_id, 7))
    assert claimed.checkpoint.history_meta is None


async def test_a_revision_beside_the_claim_is_the_one_that_counts(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"))).run_id
    await rig.do(ClaimRun(run_id, "one", LEASE_MS))
    await rig.do(Report(run_id, "one", [checkpoint(run_id, 1, 4)]))
    *_, claimed = await asyncio.gather(
        rig.do(Report(run_id, "one", [checkpoint(run_id, 1, 2)])),
        rig.do(Release(run_id, "one")),
        rig.do(ClaimRun(run_id, "two", LEASE_MS)),
    )
    assert (claimed.checkpoint.row.revision, len(claimed.checkpoint.history)) == (2, 2)


async def test_a_run_without_anything_is_handed_out_with_nothing(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"))).run_id
    claimed = await rig.do(Claim("w", LEASE_MS))
    assert claimed.view.row.run_id == run_id
    assert (claimed.input, claimed.checkpoint, claimed.persona, claimed.route) == (None, None, None, None)
    await rig.do(Report(run_id, "w", [draft(run=RunById(run_id))]))


# The writer waits for no reader


@asynccontextmanager
async def readers_held(rig: Rig) -> AsyncIterator[None]:
    """No reader gets to answer anything meanwhile."""
    release = threading.Event()
    held = [rig.store.pool(Where.READERS)._threads.submit(release.wait) for _ in range(2 * READERS)]
    try:
        yield
    finally:
        release.set()
        for one in held:
            one.result(DEADLINE_S)


async def test_a_group_of_claims_retries_and_steering_commits_while_no_reader_answers(rig: Rig) -> None:
    ended = (await rig.do(CreateRun("ended", input=b'"go"'))).run_id
    await rig.do(CancelRun(ended))
    run_id = (await rig.do(CreateRun("t", input=b'"go"'))).run_id
    await rig.do(CreatePersona("p", "1", "other"))
    await rig.do(CreateRun("u", persona_id="p@1"))
    groups, positions = rig.engine.figures()["groups"], len(await rig.log())
    commands = [Claim("w", LEASE_MS), RetryRun(ended), SteerRun(run_id, "pause"), KillRun(run_id), Claim("v", LEASE_MS)]
    async with readers_held(rig):
        waiting = [asyncio.create_task(rig.do(command)) for command in commands]

        async def is_committed() -> bool:
            return rig.engine.figures()["groups"] == groups + 1

        await wait_until_async(is_committed, "the group is committed")
        assert rig.engine._writer._cache.counters[rig.org].position > positions
        assert not any(task.done() for task in waiting), "what was answered had nothing read"
        stored = await asyncio.wait_for(rig.append(draft(run=RunById(run_id))), DEADLINE_S)
        assert isinstance(stored[0], Stored), "telemetry is answered of what was committed"
    claimed, again, paused, killed, other = await asyncio.gather(*waiting)
    assert (claimed.view.row.run_id, claimed.input) == (run_id, b'"go"')
    assert (again.row.retry_of, again.input is not None) == (ended, True)
    assert [one.type for one in paused.row.pending] == ["pause"]
    assert killed.row.status is Status.CANCELLED
    assert other.persona is not None


async def test_a_reply_is_never_older_than_its_commit(rig: Rig) -> None:
    """Two in one group: the first is answered after both are committed, with its own row."""
    run_id = (await rig.do(CreateRun("t"))).run_id
    await rig.do(Claim("w", LEASE_MS))
    paused, resumed = await asyncio.gather(rig.do(SteerRun(run_id, "pause")), rig.do(SteerRun(run_id, "resume")))
    assert [one.type for one in paused.row.pending] == ["pause"]
    assert resumed.row.last_seq > paused.row.last_seq
    assert resumed.lane is not None


# Made again


def without_secrets(outcome: Any) -> Any:
    """The outcome without what no reply shows twice, or ever: a new key's text, the store's own numbers."""
    match outcome:
        case KeyMinted():
            return msgspec.structs.replace(outcome, text="")
        case PersonaView(persona, created):
            return (msgspec.structs.replace(persona, number=0), created)
        case RouteView(route, created):
            return (msgspec.structs.replace(route, number=0), created)
        case _:
            return outcome


async def test_every_outcome_of_a_command_can_be_made_again(rig: Rig) -> None:
    """But for those that no command of a request under an Idempotency-Key has."""
    never_kept = {"ContentKept", "ReplyKept", "SessionStarted"}
    assert {kind.__name__ for kind in get_args(Placed)} - never_kept == {*rig.engine._answers.replies.kinds}


async def test_every_outcome_can_be_made_again_of_its_ids(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word, but for the text of a new key."""
    monkeypatch.setattr(rig.engine._writer.intake, "keep_body", lambda *_: None)
    run_id = (await rig.do(CreateRun("t", input=b'"go"'))).run_id
    asks = Facts(effects=Effects(checkpoint=CheckpointFacts(1, "waiting_for_approval")))
    await rig.append(Draft(EventType.CHECKPOINT, RunByTrace("d", "y"), b"{}", asks))
    known = RunByForeignId("steps:w", "w")
    commands: list[Any] = [
        ClaimRun(run_id, "w", LEASE_MS),
        Report(run_id, "w", [draft(run=RunById(run_id)), draft(run=RunById("none"))]),
        Append("steps", [draft(run=known), draft(run=RunById("none"))], polled=(known,)),
        GiveInput(run_id, "yes"),
        SteerRun(run_id, "pause"),
        CancelRun(run_id),
        Finish(run_id, "w", draft(EventType.RUN_COMPLETED, RunById(run_id))),
        RetryRun(run_id),
        Claim("v", LEASE_MS),
        Claim("v", LEASE_MS, agents=("nobody",)),
        Decide("y", 1, "approved"),
        CreateThread("t2", title="x"),
        RegisterAgent("b"),
        CreatePersona("p", "1", "b"),
        CreateRoute("r", "openai", "m"),
        CreateKey("k", (Scope.READ,)),
    ]
    told: dict[str, list[Any]] = {}
    for number, command in enumerate(commands):
        answers = told.setdefault(type(command).__name__ + str(number), [])

        def encode(outcome: Any, answers: list[Any] = answers) -> tuple[int, bytes]:
            answers.append(outcome)
            return 200, b"kept"

        keyed = Idempotency(str(number), "key", b"digest", encode)
        first = await rig.do(command, idempotency=keyed)
        assert await rig.do(command, idempotency=keyed) == Replayed(200, b"kept")
        assert await rig.do(command, idempotency=keyed) == Replayed(200, b"kept")
        assert len(answers) == 3, "made again each time, since it was not stored"
        assert [without_secrets(one) for one in answers] == [without_secrets(first)] * 3, command


async def test_the_ids_of_a_minted_key_do_not_hold_its_text(rig: Rig) -> None:
    keyed = Idempotency("r", "key", b"digest", lambda _: (200, b""))
    minted = await rig.do(CreateKey("k", (Scope.READ,)), idempotency=keyed)
    async with rig.store.begin() as unit:
        [kept] = (await looked_up(unit, Kind.REPLY, (rig.org, "r\nkey"))).values()
    assert minted.text.encode() not in kept.ids
    assert minted.key.key_id.encode() in kept.ids
