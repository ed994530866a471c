"""What the audit says of each act: one entry in the act's own commit, and none of what has changed nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.engine.queries.test_replies import checkpoint
from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.verbs import VERBS
from towerlog.errors import Conflict, Invalid, NotFound, NotWaiting, RunNotActive, StorageFailed
from towerlog.model import command as c
from towerlog.model.audit import ActorType, AuditFilter, AuditRow, ListAudit
from towerlog.model.budget import (
    BudgetAction,
    BudgetScope,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    Period,
    ReserveBudget,
)
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.price import CreatePrice, DeletePrice, Rates
from towerlog.model.principal import Scope
from towerlog.model.question import GetRun
from towerlog.model.run import Status
from towerlog.store.sqlite.audit import entries

E = EventType
LEASE_MS = 60_000
DOLLAR = 1_000_000_000
BUDGET = CreateBudget("ours", BudgetScope(agent="a"), DOLLAR, Period.DAY, BudgetAction.PAUSE)
NO_ACTS = {
    c.Append, c.Deliver, c.Claim, c.ClaimRun, c.Report, c.Release, c.Finish, c.KeepContent, c.KeepReply,
    ReserveBudget,
}  # fmt: skip
"""Telemetry, the work of workers, and what the engine does by itself."""


async def audit(rig: Rig, **named: Any) -> list[AuditRow]:
    """All entries but the first, which is about the organisation; newest last."""
    principal = named.pop("principal", rig.principal)
    page = await rig.do(ListAudit(AuditFilter(**named), 200), principal=principal)
    assert page.next is None
    return [row for row in reversed(page.rows) if row.entry.action != "organisation.create"]


async def the_act(rig: Rig, command: Any, **named: Any) -> AuditRow:
    """The one entry that a command leaves."""
    before = await audit(rig)
    await rig.do(command, **named)
    after = await audit(rig)
    assert len(after) == len(before) + 1
    return after[-1]


def told(row: AuditRow) -> tuple[str, str, Any, Any]:
    """(action, object's type, before, after)."""
    entry = row.entry
    states = (msgspec.json.decode(text) for text in (entry.before, entry.after))
    return entry.action, entry.object_type, *states


def test_every_verb_is_an_act_or_is_known_to_be_none() -> None:
    assert {command for command, verb in VERBS.items() if verb.act is None} == NO_ACTS


async def running(rig: Rig, thread: str = "t") -> str:
    """A run that a worker holds."""
    run_id = str((await rig.do(c.CreateRun(thread))).run_id)
    await rig.do(c.ClaimRun(run_id, "w", LEASE_MS))
    return run_id


async def asking(rig: Rig, thread: str = "t") -> str:
    """A run that waits for an answer."""
    run_id = await running(rig, thread)
    asked = draft(E.RUN_WAITING, RunById(run_id), facts=Facts(question="why?", effects=Effects(question_key="k")))
    await rig.do(c.Report(run_id, "w", [asked]))
    return run_id


async def awaiting(rig: Rig, trace: str = "one") -> None:
    """A checkpoint that waits for approval."""
    checkpoint = CheckpointFacts(3, "waiting_for_approval")
    asks = Facts(effects=Effects(checkpoint=checkpoint, status=Status.WAITING))
    await rig.append(draft(E.CHECKPOINT, traced(trace), {"step_index": 3}, agent="a", facts=asks))


async def test_an_entry_names_who_when_from_where(rig: Rig) -> None:
    row = await the_act(rig, c.CreateThread("t"), address="192.0.2.7")
    entry, who = row.entry, rig.principal
    assert (entry.at, entry.address, entry.org) == (rig.clock.now_ms(), "192.0.2.7", who.org)
    assert entry.actor.type is ActorType.KEY
    assert (entry.actor.user_id, entry.actor.key_id) == (who.user_id, who.key_id)
    assert (entry.actor.user_name, entry.actor.key_name) == ("admin", "admin")


async def test_keys(rig: Rig) -> None:
    made = await the_act(rig, c.CreateKey("ci", (Scope.INGEST, Scope.READ)))
    state = {"name": "ci", "scopes": ["ingest", "read"], "user_id": rig.principal.user_id}
    state["key_digest"] = told(made)[3]["key_digest"]
    assert len(state["key_digest"]) == 8
    assert told(made) == ("key.create", "key", None, state)
    revoked = await the_act(rig, c.RevokeKey(made.entry.object_id))
    at = {"revoked_at": "2026-01-01T00:00:00.000Z"}
    action, _, before, after = told(revoked)
    assert (action, before, set(after) - set(state)) == ("key.revoke", state, set(at))
    assert revoked.entry.object_id == made.entry.object_id


async def test_the_runs_that_people_create(rig: Rig) -> None:
    made = await the_act(rig, c.CreateRun("t", agent="a"))
    assert told(made) == ("run.create", "run", None, {"status": "queued", "thread_id": "t", "agent": "a"})
    source = made.entry.object_id
    await rig.do(c.ClaimRun(source, "w", LEASE_MS))
    await rig.do(c.Report(source, "w", [checkpoint(source, 2, 1)]))
    fork = await the_act(rig, c.ForkRun(source, 2))
    action, _, before, after = told(fork)
    assert (action, before, after["forked_from"]) == ("run.fork", None, {"run_id": source, "step_index": 2})
    await rig.do(c.KillRun(source))
    retry = await the_act(rig, c.RetryRun(source))
    assert (retry.entry.action, told(retry)[3]["retry_of"]) == ("run.retry", source)
    assert len({made.entry.object_id, fork.entry.object_id, retry.entry.object_id}) == 3


async def test_what_people_ask_of_a_run(rig: Rig) -> None:
    run_id = await running(rig)
    paused = await the_act(rig, c.SteerRun(run_id, "pause", "lunch"))
    was = {"status": "running"}
    assert told(paused) == ("run.pause", "run", was, {"status": "running", "pending": ["pause"], "reason": "lunch"})
    resumed = await the_act(rig, c.SteerRun(run_id, "resume"))
    assert (resumed.entry.action, told(resumed)[3]["pending"]) == ("run.resume", ["resume"])
    asked = await the_act(rig, c.CancelRun(run_id, "enough"))
    assert (asked.entry.action, told(asked)[3]["status"], told(asked)[3]["reason"]) == (
        "run.cancel",
        "cancelling",
        "enough",
    )
    killed = await the_act(rig, c.KillRun(run_id))
    assert (killed.entry.action, told(killed)[3]) == ("run.kill", {"status": "cancelled", "forced": True})
    assert {row.entry.object_id for row in (paused, resumed, asked, killed)} == {run_id}


async def test_an_answer_and_a_message_name_their_event_and_keep_their_text_out(rig: Rig) -> None:
    run_id = await asking(rig)
    answer = await the_act(rig, c.GiveInput(run_id, "the password is hunter2"))
    action, _, before, after = told(answer)
    assert (action, before["status"], before["questions"]) == ("run.input", "waiting_for_input", [after["question_id"]])
    [event] = [event for event in await rig.events(run_id) if event.type is E.RUN_INPUT]
    assert (after["seq"], after["content_bytes"]) == (event.seq, len("the password is hunter2"))
    message = await the_act(rig, c.GiveInput(run_id, "hunter2 again", type="message"))
    assert message.entry.action == "run.message"
    assert "hunter2" not in str([answer, message])


@pytest.mark.parametrize(("status", "action"), [("approved", "run.approve"), ("rejected", "run.reject")])
async def test_a_decision_is_about_its_run(rig: Rig, status: str, action: str) -> None:
    await awaiting(rig)
    row = await the_act(rig, c.Decide("one", 3, status, reason="because"))
    done, kind, before, after = told(row)
    assert (done, kind, before) == (action, "run", {"status": "waiting_for_input"})
    decided = {"status": "running", "step_index": 3, "agent": "a", "decision": status, "reason": "because"}
    assert {name: after[name] for name in decided} == decided
    [event] = [event for event in await rig.log() if event.seq == after["seq"]]
    assert event.facts.name == status


async def test_what_people_register(rig: Rig) -> None:
    persona = await the_act(rig, CreatePersona("writer", "1", "agent-of-it", "Shorten.", b'{"key":"s3cret"}'))
    assert told(persona) == ("persona.create", "persona", None, {"agent": "agent-of-it", "instructions": "Shorten."})
    first = await the_act(rig, CreateRoute("fast", "p", "m"))
    assert told(first)[:3] == ("route.create", "route", None)
    second = await the_act(rig, CreateRoute("fast", "p", "other"))
    assert (told(second)[2]["model"], told(second)[3]["model"], told(second)[3]["version"]) == ("m", "other", 2)
    agent = await the_act(rig, c.RegisterAgent("by hand"))
    assert told(agent) == ("agent.create", "agent", None, {"name": "by hand"})
    thread = await the_act(rig, c.CreateThread("t", title="One"))
    assert told(thread) == ("thread.create", "thread", None, {"title": "One", "policy": "enqueue"})
    changed = await the_act(rig, c.CreateThread("t", policy="reject"))
    assert told(changed)[0] == "thread.change"
    assert (told(changed)[2]["policy"], told(changed)[3]["policy"]) == ("enqueue", "reject")


async def test_budgets(rig: Rig) -> None:
    made = await the_act(rig, BUDGET)
    state = {
        "name": "ours", "scope": {"agent": "a"}, "amount_usd": "1.00", "period": "day", "action": "pause",
        "warn_at": 0.8,
    }  # fmt: skip
    assert told(made) == ("budget.create", "budget", None, state)
    budget_id = made.entry.object_id
    changed = await the_act(rig, ChangeBudget(budget_id, amount_nanos=2 * DOLLAR))
    assert told(changed) == ("budget.change", "budget", state, state | {"amount_usd": "2.00"})
    gone = await the_act(rig, DeleteBudget(budget_id))
    assert told(gone) == ("budget.delete", "budget", state | {"amount_usd": "2.00"}, None)


async def test_prices(rig: Rig) -> None:
    made = await the_act(rig, CreatePrice("house-*", Rates(input=DOLLAR), "me"))
    rates = {"usd_per_million": {"input": "1.00"}, "priced": ["input", "request"]}
    state = {"number": 1, "model": "house-*", "provider": "me", **rates}
    assert told(made) == ("price.create", "price", None, state)
    gone = await the_act(rig, DeletePrice(made.entry.object_id))
    assert told(gone) == ("price.delete", "price", state, None)


async def test_what_changes_nothing_leaves_no_entry(rig: Rig) -> None:
    run_id = await running(rig)
    made = await the_act(rig, c.CreateKey("ci", (Scope.READ,)))
    budget = await the_act(rig, BUDGET)
    once: list[Any] = [
        c.RevokeKey(made.entry.object_id),
        c.CreateThread("named"),
        c.RegisterAgent("by hand"),
        CreatePersona("writer", "1", "a"),
        CreateRoute("fast", "p", "m"),
        c.SteerRun(run_id, "pause"),
        c.CancelRun(run_id),
        c.KillRun(run_id),
        ChangeBudget(budget.entry.object_id, name="theirs"),
    ]
    for command in once:
        if type(command) is c.CancelRun:
            await rig.do(c.SteerRun(run_id, "pause"))
        await the_act(rig, command)
    count = len(await audit(rig))
    for command in once:
        if type(command) in (c.SteerRun, c.CancelRun):
            continue  # the run has ended
        await rig.do(command)
    await rig.do(c.CancelRun(run_id))
    assert len(await audit(rig)) == count


async def test_a_child_that_is_born_below_a_cancelled_run_is_no_act_of_anybody(rig: Rig) -> None:
    """It is cancelled as it begins; whoever cancels its parent again finds nothing left to do."""
    run_id = await running(rig)
    await rig.do(c.CancelRun(run_id))
    child = (await rig.do(c.CreateRun("other", parent_run_id=run_id))).run_id
    assert (await rig.run(child)).status is Status.CANCELLED
    before = await audit(rig)
    await rig.do(c.CancelRun(run_id))
    assert await audit(rig) == before


async def refusals(rig: Rig) -> list[tuple[Any, type[Exception]]]:
    run_id = await running(rig)
    await rig.do(CreatePersona("writer", "1", "a"))
    await awaiting(rig)
    await rig.do(c.Decide("one", 3, "approved"))
    absent = "01890000-0000-7000-8000-00000000dead"
    return [
        (c.RevokeKey(absent), NotFound),
        (c.CancelRun(absent), NotFound),
        (c.KillRun(absent), NotFound),
        (c.SteerRun(absent, "pause"), NotFound),
        (c.GiveInput(absent, "x"), NotFound),
        (c.GiveInput(run_id, "x", question_id=99), Conflict),
        (c.Decide("one", 3, "rejected"), NotWaiting),
        (c.Decide("none", 1, "approved"), NotFound),
        (c.RetryRun(run_id), Conflict),
        (c.ForkRun(run_id, 7), NotFound),
        (c.CreateRun("t", persona_id="nobody"), Invalid),
        (CreatePersona("writer", "1", "another"), Conflict),
        (ChangeBudget(absent, name="x"), NotFound),
        (DeleteBudget(absent), NotFound),
    ]


async def test_what_is_refused_leaves_no_entry(rig: Rig) -> None:
    asked = await refusals(rig)
    count = len(await audit(rig))
    for command, error in asked:
        with pytest.raises((error, RunNotActive)):
            await rig.do(command)
    assert len(await audit(rig)) == count


async def test_telemetry_and_workers_leave_no_entry(rig: Rig) -> None:
    run_id = str((await rig.do(c.CreateRun("t"))).run_id)
    count = len(await audit(rig))
    await rig.append(draft(E.STEP, traced("one")), draft(E.RUN_COMPLETED, traced("one")))
    await rig.do(c.Claim("w", LEASE_MS))
    await rig.do(c.Report(run_id, "w", [draft(E.STEP, RunById(run_id))]))
    await rig.do(c.Release(run_id, "w"))
    await rig.do(c.ClaimRun(run_id, "w", LEASE_MS))
    await rig.do(c.Finish(run_id, "w", draft(E.RUN_COMPLETED, RunById(run_id))))
    assert len(await audit(rig)) == count


async def test_a_repeat_under_one_idempotency_key_leaves_one(rig: Rig) -> None:
    once = c.Idempotency("POST /x", "key", b"digest", lambda outcome: (201, b"{}"))
    for _ in range(3):
        await rig.do(c.CreateKey("ci", (Scope.READ,)), idempotency=once)
    assert [row.entry.action for row in await audit(rig)] == ["key.create"]


async def test_acts_of_one_group_are_each_told_once_in_their_order(rig: Rig) -> None:
    made = await the_act(rig, c.CreateKey("ci", (Scope.READ,)))
    commands = [c.RevokeKey(made.entry.object_id), c.RevokeKey(made.entry.object_id), c.CreateThread("t")]
    commands += [c.CreateThread("t", title="x"), c.CreateThread("t", title="x")]
    groups = rig.engine.figures()["groups"]
    await asyncio.gather(*(rig.do(command) for command in commands))
    assert rig.engine.figures()["groups"] == groups + 1, "they were not placed together"
    acts = [row.entry.action for row in await audit(rig)][1:]
    assert acts == ["key.revoke", "thread.create", "thread.change"]


async def test_an_entry_is_committed_with_its_act_or_not_at_all(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that cannot be written takes the act with it."""
    count = len(await audit(rig))

    def broken(*_: Any) -> None:
        raise StorageFailed("no audit today")

    monkeypatch.setattr(entries, "chain_link", broken)
    with pytest.raises(StorageFailed):
        await rig.do(c.CreateThread("lost"))
    monkeypatch.undo()
    assert await rig.store.thread(rig.org, "lost") is None
    assert len(await audit(rig)) == count


async def test_each_organisation_has_its_own(rig: Rig) -> None:
    other = await rig.make_org("other")
    await rig.do(c.CreateThread("theirs"), principal=other)
    await rig.do(c.CreateThread("ours"))
    assert [row.entry.object_id for row in await audit(rig)] == ["ours"]
    assert [row.entry.object_id for row in await audit(rig, principal=other)] == ["theirs"]
    assert [row.number for row in await audit(rig, principal=other)] == [2]


async def test_a_name_is_that_of_the_moment(rig: Rig) -> None:
    await rig.do(c.CreateThread("t"))
    await rig.store.writer.call(lambda db: [*db.execute("UPDATE user SET name = 'renamed'")])
    await rig.do(c.CreateThread("u"))
    assert [row.entry.actor.user_name for row in await audit(rig)] == ["admin", "renamed"]


async def test_who_has_been_revoked_meanwhile_is_still_named(rig: Rig) -> None:
    """A key may revoke itself; the entry is made of what was there when it acted."""
    row = await the_act(rig, c.RevokeKey(rig.principal.key_id))
    assert row.entry.actor.key_name == "admin"
    assert (await rig.do(GetRun((await rig.do(c.CreateRun("t"))).run_id))).row.status == "queued"


async def test_the_answer_is_filtered(rig: Rig) -> None:
    for number in range(3):
        await rig.do(c.CreateThread(f"t{number}"))
        rig.clock.advance(1000)
    await rig.do(c.RegisterAgent("a"))
    assert [row.entry.object_id for row in await audit(rig, action="thread.create")] == ["t0", "t1", "t2"]
    assert [row.entry.object_id for row in await audit(rig, object_id="t1")] == ["t1"]
    since = rig.clock.now_ms() - 1000
    assert [row.entry.object_id for row in await audit(rig, since=since, action="thread.create")] == ["t2"]
    for actor in (rig.principal.user_id, rig.principal.key_id, "admin"):
        assert len(await audit(rig, actor=actor)) == 4
    assert await audit(rig, actor="nobody") == []
