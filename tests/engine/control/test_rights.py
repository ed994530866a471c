"""Rights inside an organisation: whose a lease is, whose word about a run counts, who is told what people want."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.engine.commands.test_lanes import LEASE_MS, create, finish, lane
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from tests.support.tables import table
from towerlog.engine.verify import verify_org
from towerlog.errors import AlreadyClaimed, LeaseLost, RunEnded, TowerlogError
from towerlog.model.command import (
    Append,
    CancelRun,
    Claim,
    ClaimRun,
    CreateKey,
    CreateRun,
    Finish,
    GiveInput,
    Idempotency,
    KillRun,
    Release,
    Report,
    RevokeKey,
    SteerRun,
    Write,
)
from towerlog.model.event import (
    Draft,
    EventType,
    History,
    HistoryBase,
    Item,
    OpenRun,
    Refusal,
    RunByForeignId,
    RunById,
)
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.key import Key
from towerlog.model.lane import ASKED_LATELY_MS
from towerlog.model.outcome import Appended, Reported, Stored
from towerlog.model.principal import Principal, Scope
from towerlog.model.question import ListLanes, ListWorkers
from towerlog.model.run import Status
from towerlog.model.usage import Usage, UsageReport

E = EventType


def under(rig: Rig, key_id: str, *scopes: Scope) -> Principal:
    """Another key of the same user."""
    return msgspec.structs.replace(rig.principal, key_id=key_id, scopes=frozenset(scopes or Scope))


async def held(rig: Rig, **fields: str) -> str:
    """A run that the worker `w` holds under the key `mine`."""
    run_id = await create(rig, **fields)
    await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=under(rig, "mine"))
    return run_id


async def tell(rig: Rig, key_id: str, *items: Item) -> list[Stored]:
    """What a sender under this key is answered."""
    done = await rig.do(Append("steps", list(items)), principal=under(rig, key_id))
    assert all(isinstance(result, Stored) for result in done.results), done.results
    return list(done.results)


# A lease belongs to (key, worker, epoch)


async def test_another_key_with_the_workers_name_holds_nothing(rig: Rig) -> None:
    run_id = await held(rig)
    before = (await rig.run(run_id), await lane(rig, run_id))
    other = under(rig, "other")
    for command, refusal in (
        (Report(run_id, "w", [draft(run=RunById(run_id))], lease_epoch=1), LeaseLost),
        (Finish(run_id, "w", draft(E.RUN_COMPLETED, RunById(run_id)), 1), LeaseLost),
        (Release(run_id, "w", 1), LeaseLost),
        (ClaimRun(run_id, "w", LEASE_MS), AlreadyClaimed),
    ):
        with pytest.raises(refusal):
            await rig.do(command, principal=other)
    assert (await rig.run(run_id), await lane(rig, run_id)) == before
    assert len(await rig.store.quarantined(rig.org, before[0].run, 10, 0)) == 2, "what was sent is beside the run"
    await rig.do(finish(run_id, "w", epoch=1), principal=under(rig, "mine"))


async def test_a_claim_under_another_key_takes_the_lease_over_once_it_is_over(rig: Rig) -> None:
    run_id = await held(rig)
    rig.clock.advance(LEASE_MS)
    await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=under(rig, "other"))
    assert ((await lane(rig, run_id)).epoch, (await lane(rig, run_id)).key_id) == (2, "other")
    with pytest.raises(LeaseLost):
        await rig.do(Report(run_id, "w", []), principal=under(rig, "mine"))


async def test_a_release_is_repeated_by_the_key_that_released(rig: Rig) -> None:
    run_id = await held(rig)
    for _ in range(2):
        await rig.do(Release(run_id, "w"), principal=under(rig, "mine"))
    with pytest.raises(LeaseLost):
        await rig.do(Release(run_id, "w"), principal=under(rig, "other"))


async def test_who_gave_a_run_back_is_not_told_what_is_wanted_of_it_since(rig: Rig) -> None:
    run_id = await held(rig)
    await tell(rig, "mine", draft(E.RUN_WAITING, RunById(run_id), facts=Facts(question="who?")))
    for _ in range(2):
        answer = await rig.do(Release(run_id, "w"), principal=under(rig, "mine"))
        assert (answer.view.row.pending, answer.view.row.questions) == ((), ())
        if (await rig.run(run_id)).questions:
            await rig.do(GiveInput(run_id, "the secret"))
    assert [one.content for one in (await rig.run(run_id)).pending] == ["the secret"]


async def test_a_repeated_request_of_another_key_is_not_answered_for_the_holder(rig: Rig) -> None:
    run_id = await held(rig)
    repeat = Idempotency("POST /x", "k", b"", lambda outcome: (200, b"the answer"))
    mine, report = under(rig, "mine"), Report(run_id, "w", [])
    await rig.do(report, principal=mine, idempotency=repeat)
    with pytest.raises(LeaseLost):
        await rig.do(report, principal=under(rig, "other"), idempotency=repeat)
    assert (await rig.do(report, principal=mine, idempotency=repeat)).body == b"the answer"


async def minted(rig: Rig) -> tuple[Key, Principal]:
    """A key that is stored, and who has it."""
    key: Key = (await rig.do(CreateKey("k", (Scope.WORKER, Scope.INGEST)))).key
    return key, under(rig, key.key_id)


async def test_a_worker_whose_key_was_replaced_claims_its_run_again(rig: Rig) -> None:
    """The new key does nothing while the old one is good; then it goes on in the same attempt, and the epoch rises."""
    run_id = await create(rig)
    old, former = await minted(rig)
    _, fresh = await minted(rig)
    await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=former)
    with pytest.raises(AlreadyClaimed):
        await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=fresh)
    await rig.do(RevokeKey(old.key_id))
    for command in (Report(run_id, "w", []), Release(run_id, "w"), finish(run_id, "w")):
        with pytest.raises(LeaseLost):
            await rig.do(command, principal=fresh)
    for worker, who in (("other", fresh), ("w", msgspec.structs.replace(fresh, user_id="somebody else"))):
        with pytest.raises(AlreadyClaimed):
            await rig.do(ClaimRun(run_id, worker, LEASE_MS), principal=who)
    await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=fresh)
    found = await lane(rig, run_id)
    assert (found.epoch, found.attempt, found.key_id) == (2, 1, fresh.key_id)
    await rig.do(finish(run_id, "w", epoch=2), principal=fresh)


# Who sees worker ids


async def test_worker_ids_are_for_readers_and_for_their_own_key(rig: Rig) -> None:
    run_id = await held(rig)
    await rig.do(SteerRun(run_id, "pause", "lunch"))

    async def seen(who: Principal) -> tuple[list[str], list[str | None], int]:
        workers, lanes = await rig.do(ListWorkers(10), principal=who), await rig.do(ListLanes(10), principal=who)
        pending = sum(len(view.run.row.pending) for view in lanes.page.rows)
        return [one.worker_id for one in workers.rows], [view.lane.worker_id for view in lanes.page.rows], pending

    for who in (under(rig, "mine", Scope.WORKER), under(rig, "x", Scope.READ), under(rig, "x", Scope.ADMIN)):
        assert await seen(who) == (["w"], ["w"], 1)
    assert await seen(under(rig, "x", Scope.WORKER)) == ([], [None], 0)
    named = await rig.do(ListWorkers(10, "w"), principal=under(rig, "x", Scope.WORKER))
    assert named.rows == []


async def test_a_worker_that_waits_is_seen_for_a_while(rig: Rig) -> None:
    mine, other = under(rig, "mine", Scope.WORKER), under(rig, "other", Scope.WORKER)

    async def seen(who: Principal) -> list[tuple[str, tuple[str, ...]]]:
        found = await rig.do(ListWorkers(10), principal=who)
        return [(one.worker_id, one.run_ids) for one in found.rows]

    await rig.do(Claim("idle", LEASE_MS), principal=mine)
    assert await seen(under(rig, "x", Scope.READ)) == [("idle", ())]
    assert (await seen(mine), await seen(other)) == ([("idle", ())], [])
    rig.clock.advance(ASKED_LATELY_MS + 1)
    assert await seen(mine) == []


# Whose word counts

REPORT = UsageReport(Usage(input_tokens=5, total_tokens=5), whole_run=True)
CHANGES: dict[str, tuple[EventType, Facts]] = {
    "start": (E.RUN_STARTED, Facts(effects=Effects(is_start=True, metadata=msgspec.Raw(b'{"mine":1}')))),
    "end": (E.RUN_COMPLETED, Facts(name="run_end", effects=Effects(report=REPORT))),
    "failure": (E.RUN_FAILED, Facts(error="no")),
    "cancelled": (E.RUN_CANCELLED, Facts()),
    "budget": (E.BUDGET_EXCEEDED, Facts()),
    "pause": (E.RUN_PAUSED, Facts(effects=Effects(acknowledges="pause"))),
    "resume": (E.RUN_RESUMED, Facts(effects=Effects(acknowledges="resume"))),
    "question": (E.RUN_WAITING, Facts(question="which?", effects=Effects(question_key="k2"))),
    "answer taken": (E.RUN_INPUT, Facts(effects=Effects(acknowledges="input"))),
    "withdrawal": (E.RUN_QUESTION_WITHDRAWN, Facts()),
    "acknowledgement": (E.COMMAND_ACKNOWLEDGED, Facts(effects=Effects(acknowledges="pause"))),
    "idleness": (E.OTHER, Facts(name="thread_idle", effects=Effects(idle=True))),
    "state": (E.CHECKPOINT, Facts(effects=Effects(checkpoint=CheckpointFacts(7, "waiting_for_approval", length=1)))),
}


@pytest.mark.parametrize("said", CHANGES)
async def test_a_strangers_word_about_a_held_run_is_kept_and_changes_nothing(rig: Rig, said: str) -> None:
    run_id = await held(rig)
    asked = draft(E.RUN_WAITING, RunById(run_id), facts=Facts(question="who?", effects=Effects(question_key="k1")))
    await tell(rig, "mine", asked, asked)
    await rig.do(GiveInput(run_id, "me"))
    await rig.do(SteerRun(run_id, "pause"))
    before = await rig.run(run_id)
    kind, facts = CHANGES[said]
    history = History([b'{"role":"user","content":"forged"}'], None) if kind is E.CHECKPOINT else None
    forged = Draft(kind, RunById(run_id), b'{"n":1}', facts, event_id="x", natural_key=said, history=history)
    [kept] = await tell(rig, "other", forged)
    assert (kept.foreign, kept.duplicate, kept.commands) == (True, False, ())
    after = await rig.run(run_id)
    same = (
        "status",
        "pending",
        "questions",
        "closed_questions",
        "awaits_approval",
        "metadata",
        "error",
        "idle",
        "shares",
    )
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    stored = (await rig.events(run_id))[-1]
    assert (stored.type, stored.facts.name, stored.facts.foreign) == (E.OTHER, facts.name or kind.value, True)
    assert stored.data == b'{"n":1}'
    assert await rig.store.checkpoints(rig.org, after.run, 10, None) == []
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    # The same again is answered as it was; from whom it counts, it counts.
    for repeat in (forged, forged):
        [again] = await tell(rig, "other", repeat)
        assert (again.seq, again.duplicate, again.foreign) == (kept.seq, True, True)
    [counted] = await tell(rig, "mine", forged)
    assert (counted.foreign, counted.duplicate) == (False, False)


async def test_a_strangers_id_does_not_stand_in_for_the_holders(rig: Rig) -> None:
    """Whoever was first to use the id of the end: the run ends when its holder says so."""
    run_id = await held(rig)
    end = draft(E.RUN_COMPLETED, RunById(run_id), event_id="end")
    [kept] = await tell(rig, "other", end)
    assert (await rig.events(run_id))[-1].sent_id == "end", "readers are shown what its sender called it"
    report = await rig.do(Report(run_id, "w", [end], lease_epoch=1), principal=under(rig, "mine"))
    assert [(one.duplicate, one.foreign) for one in report.results] == [(False, False)]
    assert (await rig.run(run_id)).status is Status.COMPLETED
    for key_id, first in (("other", kept), ("mine", report.results[0])):
        [again] = await tell(rig, key_id, end)
        assert (again.seq, again.duplicate, again.foreign) == (first.seq, True, first.foreign)


async def test_a_strangers_word_without_an_id_is_kept_once(rig: Rig) -> None:
    run_id = await held(rig)
    end = draft(E.RUN_COMPLETED, RunById(run_id), natural_key="run_end")
    told = [(await tell(rig, key_id, end))[0] for key_id in ("other", "other", "third")]
    assert [(one.duplicate, one.foreign) for one in told] == [(False, True), (True, True), (False, True)]
    other = draft(E.RUN_COMPLETED, RunById(run_id), {"n": 2}, natural_key="run_end")
    later = await rig.events(run_id)
    assert [event.sent_id for event in later if event.facts.foreign] == [None, None]
    assert not (await tell(rig, "other", other))[0].duplicate, "something else is no repeat"
    rig.clock.advance(LEASE_MS)
    await rig.do(ClaimRun(run_id, "w2", LEASE_MS), principal=under(rig, "other"))
    [ended] = await tell(rig, "other", end)
    assert (ended.duplicate, ended.foreign) == (False, False), "as its holder it says so for the first time"
    assert (await rig.run(run_id)).status is Status.COMPLETED


async def test_a_strangers_word_about_the_threads_run_is_repeated_about_the_same_run(rig: Rig) -> None:
    """The thread has another open run by the time that the repeat comes."""
    run_id = await held(rig)
    end = draft(E.RUN_COMPLETED, OpenRun("t"), event_id="end")
    [kept] = await tell(rig, "other", end)
    await rig.do(finish(run_id, "w", epoch=1), principal=under(rig, "mine"))
    [next_run] = await tell(rig, "other", draft(E.RUN_STARTED, traced("next", "t")))
    [again] = await tell(rig, "other", end)
    assert (again.run_id, again.seq, again.duplicate) == (run_id, kept.seq, True)
    assert (await rig.run(next_run.run_id)).status is Status.RUNNING


# A run in the queue


@table("epoch", [0, 1])
@table("lane_state", ["queued", "blocked"])
@table("said", CHANGES)
async def test_a_strangers_word_about_a_run_in_the_queue_changes_nothing(
    rig: Rig, said: str, lane_state: str, epoch: int
) -> None:
    """Neither before its first claim nor after it was given back, also from the key that has held it."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    if lane_state == "blocked":
        if epoch:
            return  # only the first of a thread's runs can have been held
        await create(rig)
    run_id = await held(rig) if epoch else await create(rig)
    if epoch:
        await rig.do(Release(run_id, "w", 1), principal=under(rig, "mine"))
    before = (await rig.run(run_id), await lane(rig, run_id))
    kind, facts = CHANGES[said]
    history = History([b'{"role":"user","content":"forged"}'], None) if kind is E.CHECKPOINT else None
    forged = Draft(kind, RunById(run_id), b'{"n":1}', facts, event_id="x", natural_key=said, history=history)
    for key_id in ("other", "mine"):
        [kept] = await tell(rig, key_id, forged)
        assert (kept.foreign, kept.duplicate) == (True, False)
    after = (await rig.run(run_id), await lane(rig, run_id))
    assert (after[0].status, after[0].reporter_key, after[1]) == (before[0].status, before[0].reporter_key, before[1])
    assert await verify_org(rig.store, rig.org) == 0
    if lane_state == "queued":
        claimed = await rig.do(ClaimRun(run_id, "w2", LEASE_MS), principal=under(rig, "third"))
        assert (claimed.lane.epoch, claimed.checkpoint) == (epoch + 1, None)


@pytest.mark.parametrize("said", ["start", "end", "failure", "question"])
async def test_who_put_a_run_into_the_queue_may_begin_and_end_it(rig: Rig, said: str) -> None:
    run_id = (await rig.do(CreateRun("t"), principal=under(rig, "mine"))).run_id
    kind, facts = CHANGES[said]
    [told] = await tell(rig, "mine", draft(kind, RunById(run_id), facts=facts))
    assert not told.foreign
    assert (await rig.run(run_id)).status is not Status.QUEUED
    with pytest.raises(TowerlogError):
        await rig.do(ClaimRun(run_id, "w", LEASE_MS))


async def test_who_creates_goes_on_under_a_new_key_once_the_old_one_is_revoked(rig: Rig) -> None:
    old, former = await minted(rig)
    _, fresh = await minted(rig)
    run_id = (await rig.do(CreateRun("t"), principal=former)).run_id
    end = draft(E.RUN_COMPLETED, RunById(run_id))
    [kept] = (await rig.do(Append("steps", [end]), principal=fresh)).results
    assert kept.foreign
    await rig.do(RevokeKey(old.key_id))
    stranger = msgspec.structs.replace(fresh, user_id="somebody else")
    [kept] = (await rig.do(Append("steps", [end]), principal=stranger)).results
    assert kept.foreign
    [counted] = (await rig.do(Append("steps", [end]), principal=fresh)).results
    assert not counted.foreign
    assert (await rig.run(run_id)).status is Status.COMPLETED


async def test_a_stranger_names_no_agent_for_a_run_in_the_queue(rig: Rig) -> None:
    run_id = await create(rig)
    [kept] = await tell(rig, "other", draft(E.STEP, RunById(run_id), agent="forger"))
    assert kept.foreign
    assert (await rig.run(run_id)).agent == "default"


# Whose ids


async def ids_of(rig: Rig, run_id: str) -> list[tuple[EventType, str | None]]:
    """What readers are shown of the run's events that have an id."""
    return [(event.type, event.sent_id) for event in await rig.events(run_id) if event.sent_id is not None]


@table("forget", [False, True])
@table("when", ["queued", "held"])
async def test_a_strangers_telemetry_takes_no_id_of_the_holders(rig: Rig, when: str, forget: bool) -> None:
    """Whether it comes before or after the claim; a retry under the same key is a repeat all the same."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    run_id = await held(rig) if when == "held" else await create(rig)
    ref = RunById(run_id)
    step = draft(E.STEP, ref, {"by": "a stranger"}, event_id="e1")
    [first] = await tell(rig, "other", step)
    assert not first.foreign
    if when == "queued":
        await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=under(rig, "mine"))
    if forget:
        rig.engine.forget()
    end = Report(run_id, "w", [draft(E.STEP, ref, event_id="e0"), draft(E.RUN_COMPLETED, ref, event_id="e1")])
    results = (await rig.do(end, principal=under(rig, "mine"))).results
    assert [(type(one), getattr(one, "duplicate", None)) for one in results] == [(Stored, False)] * 2
    assert (await rig.run(run_id)).status is Status.COMPLETED
    [again] = await tell(rig, "other", step)
    assert (again.seq, again.duplicate) == (first.seq, True)
    assert await ids_of(rig, run_id) == [(E.STEP, "e1"), (E.STEP, "e0"), (E.RUN_COMPLETED, "e1")]
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_strangers_id_with_another_body_is_refused_to_the_stranger(rig: Rig) -> None:
    run_id = await held(rig)
    await tell(rig, "other", draft(E.STEP, RunById(run_id), event_id="e1"))
    other = Append("steps", [draft(E.TOOL_CALL, RunById(run_id), event_id="e1")])
    [refused] = (await rig.do(other, principal=under(rig, "other"))).results
    assert isinstance(refused, Refusal)
    assert refused.code == "id_reused"


async def test_who_was_a_stranger_repeats_what_it_has_told_once_it_holds_the_run(rig: Rig) -> None:
    run_id = await create(rig)
    step = draft(E.STEP, RunById(run_id), event_id="e1")
    [first] = await tell(rig, "mine", step)
    await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=under(rig, "mine"))
    [again] = (await rig.do(Report(run_id, "w", [step]), principal=under(rig, "mine"))).results
    assert (again.seq, again.duplicate) == (first.seq, True)


@pytest.mark.parametrize("ending", ["kill", "report"])
async def test_a_strangers_late_event_takes_no_id_either(rig: Rig, ending: str) -> None:
    """The run has ended, and what its last holder still has to tell arrives."""
    run_id = await held(rig)
    ref, mine = RunById(run_id), under(rig, "mine")
    if ending == "kill":
        await rig.do(KillRun(run_id))
    else:
        await rig.do(finish(run_id, "w", epoch=1), principal=mine)
    [late] = await tell(rig, "other", draft(E.RUN_FAILED, ref, event_id="e1"))
    assert late.late
    [told] = await tell(rig, "mine", draft(E.STEP, ref, event_id="e1"))
    assert (told.duplicate, told.late) == (False, True)
    result = Finish(run_id, "w", Draft(E.RUN_FAILED, ref, b'{"error":"mine"}', event_id="e2"), 1)
    await tell(rig, "other", result.draft)
    with pytest.raises(RunEnded):
        await rig.do(result, principal=mine)


async def test_an_id_of_a_run_that_nobody_holds_is_the_runs(rig: Rig) -> None:
    """Of two keys that report the same event, one is answered as the other was."""
    step = draft(E.STEP, traced("x"), event_id="e1")
    [first] = await tell(rig, "mine", step)
    [again] = await tell(rig, "other", step)
    assert (again.seq, again.duplicate) == (first.seq, True)
    other = Append("steps", [draft(E.TOOL_CALL, traced("x"), event_id="e1")])
    [refused] = (await rig.do(other, principal=under(rig, "other"))).results
    assert isinstance(refused, Refusal)


async def test_an_event_of_the_holders_is_a_repeat_under_another_key(rig: Rig) -> None:
    """A program that sends the same again under a new key adds nothing."""
    run_id = await held(rig)
    step = draft(E.STEP, RunById(run_id), event_id="e1")
    [first] = await tell(rig, "mine", step)
    [again] = await tell(rig, "other", step)
    assert (again.seq, again.duplicate) == (first.seq, True)


async def test_a_batch_that_was_foreign_is_a_repeat_after_the_end_and_begins_no_run(rig: Rig) -> None:
    """A runner that reports on somebody else's run sends its whole batch again."""
    created = await rig.do(CreateRun("t"))
    await rig.do(ClaimRun(created.run_id, "w", LEASE_MS), principal=under(rig, "mine"))
    begins, ends = [traced(created.trace_id, "t", reopen=reopen) for reopen in (True, False)]
    start = Draft(E.RUN_STARTED, begins, b"{}", Facts(effects=Effects(is_start=True)), natural_key="start")
    batch = [start, Draft(E.RUN_COMPLETED, ends, b"{}", natural_key="end")]
    assert [one.foreign for one in await tell(rig, "other", *batch)] == [True, True]
    await rig.do(finish(created.run_id, "w", epoch=1), principal=under(rig, "mine"))
    again = await tell(rig, "other", *batch)
    assert [(one.run_id, one.duplicate) for one in again] == [(created.run_id, True)] * 2


@table("said", ["pause", "answer taken", "withdrawal", "acknowledgement", "question"])
@table("key_id", ["other", "mine", None])
async def test_nobody_takes_what_is_meant_for_the_next_worker(rig: Rig, said: str, key_id: str | None) -> None:
    """The run is back in the queue, with an answer that its next worker waits for."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    key_id = key_id or rig.principal.key_id  # who has put it there
    run_id = await held(rig)
    asked = draft(E.RUN_WAITING, RunById(run_id), facts=Facts(question="who?", effects=Effects(question_key="k1")))
    await tell(rig, "mine", asked)
    await rig.do(Release(run_id, "w", 1), principal=under(rig, "mine"))
    await rig.do(GiveInput(run_id, "me"))
    await rig.do(SteerRun(run_id, "pause"))
    before = await rig.run(run_id)
    kind, facts = CHANGES[said]
    [kept] = await tell(rig, key_id, draft(kind, RunById(run_id), facts=facts))
    assert kept.foreign
    after = await rig.run(run_id)
    assert (after.pending, after.questions) == (before.pending, before.questions)
    claimed = await rig.do(ClaimRun(run_id, "w2", LEASE_MS), principal=under(rig, "third"))
    assert [one.type for one in claimed.view.row.pending] == ["input", "pause"]


async def test_a_repeat_of_the_holders_word_is_answered_as_the_first_was_whoever_holds_the_run(rig: Rig) -> None:
    run_id = await held(rig)
    asked = draft(E.RUN_WAITING, RunById(run_id), event_id="q", facts=Facts(question="who?"))
    [first] = await tell(rig, "mine", asked)
    rig.clock.advance(LEASE_MS)
    await rig.do(ClaimRun(run_id, "w2", LEASE_MS), principal=under(rig, "other"))
    [again] = await tell(rig, "mine", asked)
    assert (again.seq, again.duplicate, again.foreign) == (first.seq, True, False)


async def test_telemetry_is_welcome_from_any_key(rig: Rig) -> None:
    run_id = await held(rig)
    ref = RunById(run_id)
    usage = Facts(effects=Effects(report=UsageReport(Usage(input_tokens=3), "delta"), model="m"))
    items = (
        draft(E.STEP, ref),
        draft(E.TOOL_CALL, ref, facts=Facts(tool="sh")),
        draft(E.MESSAGE_DELTA, ref),
        draft(E.MODEL_CALL, ref, facts=usage),
        draft(E.BUDGET_WARNING, ref),
        draft(E.OTHER, ref, facts=Facts(name="heartbeat", effects=Effects(beat=True))),
    )
    assert not any(one.foreign for one in await tell(rig, "other", *items))
    row = await rig.run(run_id)
    assert (row.usage.input_tokens, row.model, len(row.open_tools)) == (3, None, 0)


async def test_what_a_strangers_end_has_cost_counts(rig: Rig) -> None:
    run_id = await held(rig)
    await tell(rig, "other", draft(E.RUN_COMPLETED, RunById(run_id), facts=Facts(effects=Effects(report=REPORT))))
    row = await rig.run(run_id)
    assert (row.status, row.usage.input_tokens) == (Status.RUNNING, 5)


async def test_a_run_that_nobody_holds_takes_any_word(rig: Rig) -> None:
    [begun] = await tell(rig, "mine", draft(E.RUN_STARTED, traced("x")))
    [ended] = await tell(rig, "other", draft(E.RUN_COMPLETED, traced("x")))
    assert not ended.foreign
    assert (await rig.run(begun.run_id)).status is Status.COMPLETED


async def test_a_lease_covers_its_run_and_not_the_runs_below_it(rig: Rig) -> None:
    run_id = await held(rig)
    start = Facts(effects=Effects(is_start=True, parent_key=f"run:{run_id}"))
    child = RunByForeignId("sdk:child", "t", names_thread=False)
    [begun] = await tell(rig, "helper", draft(E.RUN_STARTED, child, facts=start))
    await rig.do(CancelRun(begun.run_id))
    assert [one.type for one in (await tell(rig, "helper", draft(E.STEP, child)))[0].commands] == ["cancel"]
    assert (await tell(rig, "mine", draft(E.STEP, child)))[0].commands == (), "it is told of its own run alone"
    await tell(rig, "helper", draft(E.RUN_CANCELLED, child))
    assert (await rig.run(begun.run_id)).status is Status.CANCELLED
    [told] = await tell(rig, "helper", draft(E.RUN_FAILED, OpenRun("t")))
    assert (told.run_id, told.foreign) == (run_id, True), "the thread's open run is the held one"


# Who is told what people want


async def test_commands_go_to_the_key_that_reports_the_run(rig: Rig) -> None:
    ref = RunByForeignId("sdk:a", "t")
    [begun] = await tell(rig, "mine", draft(E.RUN_STARTED, ref, facts=Facts(effects=Effects(is_start=True))))
    await rig.do(GiveInput(begun.run_id, "the secret"))
    polled = Append("sdk", [draft(E.STEP, ref)], polled=(ref,))
    for key_id in ("other", "mine", "other"):
        answer: Appended = await rig.do(polled, principal=under(rig, key_id))
        told = [one.content for one in answer.results[0].commands]
        asked = [one.content for poll in answer.polled for one in poll.row.pending]
        assert (told, asked) == ((["the secret"], ["the secret"]) if key_id == "mine" else ([], []))
    marks = [event.type for event in await rig.events(begun.run_id)]
    assert marks.count(E.COMMAND_DELIVERED) == 1


async def test_a_stranger_that_waits_hears_nothing(rig: Rig) -> None:
    ref = RunByForeignId("sdk:a", "t")
    [begun] = await tell(rig, "mine", draft(E.RUN_STARTED, ref))
    poll = Append("sdk", [], polled=(ref,), wait_ms=20_000)
    mine = asyncio.create_task(rig.do(poll, principal=under(rig, "mine")))
    other = await rig.do(poll, principal=under(rig, "other"))
    assert other.polled == (), "and does not wait for what is not for it"
    await rig.do(CancelRun(begun.run_id))
    assert [one.type for poll in (await mine).polled for one in poll.row.pending] == ["cancel"]


async def test_a_wait_that_outlives_its_lease_is_told_nothing(rig: Rig) -> None:
    """The run is another key's by the time that something is wanted of it."""
    run_id = await held(rig)
    ref = RunByForeignId(f"sdk:{run_id}", "t")
    poll = Append("sdk", [], polled=(ref,), wait_ms=20_000)
    waiting = asyncio.create_task(rig.do(poll, principal=under(rig, "mine")))
    await rig.do(Release(run_id, "w"), principal=under(rig, "mine"))
    await rig.do(Claim("w2", LEASE_MS), principal=under(rig, "other"))
    await rig.do(SteerRun(run_id, "pause", "the secret"))
    answer = await waiting
    assert [one for poll in answer.polled for one in poll.row.pending] == []
    [told] = (await rig.do(Report(run_id, "w2", []), principal=under(rig, "other"))).view.row.pending
    assert told.content == "the secret"


async def test_a_held_runs_commands_are_its_holders_and_a_queued_runs_are_nobodys(rig: Rig) -> None:
    run_id = await create(rig)
    step = draft(E.STEP, RunById(run_id))
    await rig.do(ClaimRun(run_id, "w", LEASE_MS), principal=under(rig, "mine"))
    await rig.do(SteerRun(run_id, "pause"))
    assert [len(told.commands) for key in ("other", "mine") for told in await tell(rig, key, step)] == [0, 1]
    await rig.do(Release(run_id, "w"), principal=under(rig, "mine"))
    assert [len(told.commands) for key in ("other", "mine") for told in await tell(rig, key, step)] == [0, 0]


async def test_a_run_that_was_only_heard_of_is_its_starters(rig: Rig) -> None:
    """Telemetry of another program overtook the start."""
    ref = RunByForeignId("sdk:a", "t")
    step, start = draft(E.STEP, ref), draft(E.RUN_STARTED, ref, facts=Facts(effects=Effects(is_start=True)))
    [begun] = await tell(rig, "collector", step)
    await tell(rig, "mine", start)
    await tell(rig, "late to the party", start)
    await rig.do(CancelRun(begun.run_id))
    keys = ("collector", "late to the party", "mine")
    assert [len(told.commands) for key in keys for told in await tell(rig, key, step)] == [0, 0, 1]
    assert (await rig.run(begun.run_id)).reporter_key == "mine"


async def test_who_has_asked_keeps_a_run_that_was_only_heard_of(rig: Rig) -> None:
    """Its start was lost: whoever tells one under its name is not told the answer."""
    ref = RunByForeignId("sdk:a", "t")
    [begun] = await tell(rig, "mine", draft(E.RUN_WAITING, ref, facts=Facts(question="the code?")))
    await tell(rig, "other", draft(E.RUN_STARTED, ref, facts=Facts(effects=Effects(is_start=True))))
    await rig.do(GiveInput(begun.run_id, "0000"))
    step = draft(E.STEP, ref)
    assert [len(told.commands) for key in ("other", "mine") for told in await tell(rig, key, step)] == [0, 1]


async def test_who_works_on_its_queued_run_without_a_claim_is_told(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"), principal=under(rig, "mine"))).run_id
    await tell(rig, "mine", draft(E.RUN_STARTED, RunById(run_id)))
    await rig.do(CancelRun(run_id))
    step = draft(E.STEP, RunById(run_id))
    assert [len(told.commands) for key in ("other", "mine") for told in await tell(rig, key, step)] == [0, 1]


async def test_a_program_goes_on_under_a_new_key_once_its_old_one_is_revoked(rig: Rig) -> None:
    old, former = await minted(rig)
    _, fresh = await minted(rig)
    append = Append("steps", [draft(E.STEP, traced("x"))])
    [begun] = (await rig.do(append, principal=former)).results
    await rig.do(CancelRun(begun.run_id))
    assert (await rig.do(append, principal=fresh)).results[0].commands == ()
    await rig.do(RevokeKey(old.key_id))
    assert len((await rig.do(append, principal=fresh)).results[0].commands) == 1
    stranger = msgspec.structs.replace(fresh, user_id="somebody else")
    assert (await rig.do(append, principal=stranger)).results[0].commands == ()


# Results that come too late


async def ended_with(rig: Rig, command: Write, key_id: str = "mine") -> str:
    """The code of the refusal, `ok` without one."""
    try:
        answer = await rig.do(command, principal=under(rig, key_id))
    except TowerlogError as error:
        return error.code
    assert isinstance(answer, Reported)
    return "ok"


async def test_a_result_is_taken_once_and_never_thrown_away(rig: Rig) -> None:
    run_id = await held(rig)
    ref = RunById(run_id)
    same = Finish(run_id, "w", Draft(E.RUN_COMPLETED, ref, b'{"result":{"stars":2}}'), 1)
    spelt = Finish(run_id, "w", Draft(E.RUN_COMPLETED, ref, b'{ "result": {"stars": 2}, "note": null }'), 1)
    other = Finish(run_id, "w", Draft(E.RUN_COMPLETED, ref, b'{"result":{"stars":3}}'), 1)
    assert [await ended_with(rig, one) for one in (same, same, spelt, other)] == ["ok", "ok", "ok", "run_ended"]
    reported = Report(run_id, "w", [draft(E.STEP, ref), Draft(E.RUN_FAILED, ref, b'{"error":"no"}')], lease_epoch=1)
    assert await ended_with(rig, reported) == "run_ended"
    again = Report(run_id, "w", [Draft(E.RUN_COMPLETED, ref, b'{"result":{"stars":2}}')], lease_epoch=1)
    assert await ended_with(rig, again) == "ok"
    beside = [item.data for _, item in await rig.store.quarantined(rig.org, (await rig.run(run_id)).run, 10, 0)]
    assert beside == [b'{"result":{"stars":3}}', reported.items[0].data, b'{"error":"no"}']
    assert (await rig.run(run_id)).status is Status.COMPLETED


@pytest.mark.parametrize("ending", ["killed", "told elsewhere"])
async def test_a_result_after_somebody_else_ended_the_run_is_kept_beside_it(rig: Rig, ending: str) -> None:
    run_id = await held(rig)
    if ending == "killed":
        await rig.do(KillRun(run_id))
    else:
        await tell(rig, "mine", draft(E.RUN_COMPLETED, RunById(run_id), {"total_tokens": 3}))
    draft_of = Draft(E.RUN_COMPLETED, RunById(run_id), b'{"result":42}')
    for command in (Finish(run_id, "w", draft_of, 1), Report(run_id, "w", [draft_of], lease_epoch=1)):
        assert await ended_with(rig, command) == "run_ended"
    [(_, kept)] = await rig.store.quarantined(rig.org, (await rig.run(run_id)).run, 10, 0)
    assert (kept.data, kept.key_id) == (b'{"result":42}', "mine")


async def test_a_run_without_a_result_is_ended_twice_without_one(rig: Rig) -> None:
    run_id = await held(rig)
    shipped = Report(run_id, "w", [Draft(E.RUN_COMPLETED, RunById(run_id), b"{}", Facts(name="ship_complete"))])
    completed = Finish(run_id, "w", Draft(E.RUN_COMPLETED, RunById(run_id), b'{"result":null}'))
    assert [await ended_with(rig, one) for one in (shipped, completed)] == ["ok", "ok"]


async def test_a_late_state_is_kept_with_what_it_goes_on_from(rig: Rig) -> None:
    """Its sender sent only the messages after those that are stored."""
    run_id = await held(rig)
    history = History([b'{"role":"user"}'], None, HistoryBase(b"\x01" * 16, 3))
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(7, "in_progress")))
    late = Draft(E.CHECKPOINT, RunById(run_id), b'{"step_index":7}', facts, history=history)
    assert await ended_with(rig, Report(run_id, "w", [late]), "other") == "lease_lost"
    [(_, kept)] = await rig.store.quarantined(rig.org, (await rig.run(run_id)).run, 10, 0)
    assert msgspec.json.decode(kept.data) == {
        "step_index": 7,
        "history": [{"role": "user"}],
        "base": {"node": "01" * 16, "length": 3},
    }
