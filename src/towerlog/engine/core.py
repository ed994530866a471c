"""The engine: carries out commands, wakes followers, keeps time. Free of any transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec

from towerlog.ambient import Clock, Hearing, Ids
from towerlog.dialects.base import FrameStyle, RowStyle
from towerlog.engine.alerts import commands as alerts
from towerlog.engine.alerts import reactions as alert_reactions
from towerlog.engine.alerts.sender import DEFAULT_PAUSES, Sender, WaysOut
from towerlog.engine.alerts.watch import WatchedRules
from towerlog.engine.alerts.workers import Workers
from towerlog.engine.answered_once import AnsweredOnce, keep_reply, needs_of_reply
from towerlog.engine.audit import acts, of_alerts, of_members
from towerlog.engine.commands import (
    approvals,
    budgets,
    cancel,
    keys,
    lanes,
    members,
    personas,
    receipts,
    reruns,
    runs,
    steering,
)
from towerlog.engine.commit.load import Needs
from towerlog.engine.commit.replies import decode_ids
from towerlog.engine.commit.submission import Waiter
from towerlog.engine.commit.turn import Verb
from towerlog.engine.commit.writer import Writer
from towerlog.engine.follow.follower import StreamReader
from towerlog.engine.follow.hub import Hub
from towerlog.engine.follow.listener import Listener
from towerlog.engine.follow.opening import follow_agent, follow_run, subject_of
from towerlog.engine.follow.polls import Polls
from towerlog.engine.follow.subjects import Subject
from towerlog.engine.follow.waits import Waits
from towerlog.engine.ingest.append import append_items
from towerlog.engine.ingest.long_histories import LongHistories, keep_parts, needs_of_parts
from towerlog.engine.ingest.needs import needs_of_append
from towerlog.engine.live.channels import RowChannels
from towerlog.engine.pricing import commands as prices
from towerlog.engine.pricing.book import NoPrices, PriceBook, PriceList
from towerlog.engine.pricing.reprice import Repricing, correct_costs, needs_of_correct
from towerlog.engine.queries.reads import Reads
from towerlog.engine.queries.replies import Replies
from towerlog.engine.reactions import budgets as budget_reactions
from towerlog.engine.reactions import inbox, sub_agents, threads
from towerlog.engine.reactions import lanes as lane_reactions
from towerlog.engine.reactions.folding import Reactions
from towerlog.engine.timers.alerts import OldAlerts, UnwatchedAlerts
from towerlog.engine.timers.approvals import ExpiredApprovals
from towerlog.engine.timers.budgets import ExpiredReservations, SteppingBudgets
from towerlog.engine.timers.cancels import OverdueCancels
from towerlog.engine.timers.leases import ExpiredLeases
from towerlog.engine.timers.loop import TimedService, Timer
from towerlog.engine.timers.replies import OldReplies
from towerlog.engine.timers.sessions import OldSessions
from towerlog.engine.timers.silence import SilentRuns
from towerlog.engine.timers.spreads import SpreadingCancels
from towerlog.errors import LeaseLost
from towerlog.model import command as c
from towerlog.model import member as m
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.alert import AcknowledgeAlert, ChangeRule, CreateRule, DeleteRule, MuteAlert
from towerlog.model.answer_link import LinkAddress
from towerlog.model.approval import AnswerApproval, MakeAnswerLink
from towerlog.model.budget import ChangeBudget, CreateBudget, DeleteBudget, ReserveBudget
from towerlog.model.delivery import Redeliver, RedeliverFrom
from towerlog.model.liveness import DEFAULT_THRESHOLDS, Thresholds
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.price import CorrectCosts, CreatePrice, DeletePrice, Reprice
from towerlog.model.principal import Principal
from towerlog.store.base import Store
from towerlog.store.trouble import REFUSING
from towerlog.wake.base import Wake


class EngineSettings(msgspec.Struct, frozen=True):
    """What the engine needs of the settings."""

    max_queue: int = 2048
    cancel_deadline_seconds: int = 30
    thresholds: Thresholds = DEFAULT_THRESHOLDS
    delivery_pauses: tuple[int, ...] = DEFAULT_PAUSES
    links: LinkAddress | None = None
    """Where answer links lead; None where nobody has said: then messages have none."""


REACTIONS = Reactions(
    on_status=(
        threads.follow_runs,
        lane_reactions.close_lane,
        lane_reactions.free_next,
        inbox.close_ended,
        # After the thread was folded: of its open runs, those are looked at that are left.
        sub_agents.end_below,
        budget_reactions.free_ended,
        # Last: they may ask the run to pause or to end.
        budget_reactions.stop_new,
        alert_reactions.on_status,
    ),
    on_parent=(budget_reactions.join_trees,),
    on_spent=(budget_reactions.count, alert_reactions.on_spent),
    on_budget=(alert_reactions.on_budget,),
    on_call=(alert_reactions.on_call,),
)
"""What follows from an event, in this order."""


def _no_needs(_needs: Needs, _principal: Principal, _command: c.Write) -> None:
    """For what touches nothing that is there."""


VERBS: dict[type[c.Write], Verb] = {
    c.Append: Verb(needs_of_append, append_items),
    c.CreateRun: Verb(runs.needs_of_create, runs.create_run, acts.create_run),
    c.CreateThread: Verb(runs.needs_of_thread, runs.create_thread, acts.create_thread),
    c.RegisterAgent: Verb(runs.needs_of_agent, runs.register_agent, acts.register_agent),
    c.CancelRun: Verb(cancel.needs_of_cancel, cancel.cancel_run, acts.cancel_run),
    c.KillRun: Verb(cancel.needs_of_cancel, cancel.kill_run, acts.kill_run),
    c.SteerRun: Verb(steering.needs_of_steer, steering.steer_run, acts.steer_run),
    c.GiveInput: Verb(steering.needs_of_input, steering.give_input, acts.give_input),
    c.Deliver: Verb(receipts.needs_of_deliver, receipts.deliver),
    c.Claim: Verb(lanes.needs_of_claim, lanes.claim),
    c.ClaimRun: Verb(lanes.needs_of_lane, lanes.claim_run),
    c.Report: Verb(lanes.needs_of_report, lanes.report),
    c.Release: Verb(lanes.needs_of_lane, lanes.release),
    c.Finish: Verb(lanes.needs_of_finish, lanes.finish),
    c.Decide: Verb(approvals.needs_of_decide, approvals.decide, acts.decide),
    AnswerApproval: Verb(approvals.needs_of_answer, approvals.answer_approval, acts.answer_approval),
    MakeAnswerLink: Verb(approvals.needs_of_link, approvals.make_link, acts.make_link),
    c.CreateKey: Verb(_no_needs, keys.create_key, acts.create_key),
    c.RevokeKey: Verb(keys.needs_of_revoke, keys.revoke_key, acts.revoke_key),
    CreatePersona: Verb(personas.needs_of_persona, personas.create_persona, acts.create_persona),
    CreateRoute: Verb(personas.needs_of_route, personas.create_route, acts.create_route),
    c.RetryRun: Verb(reruns.needs_of_rerun, reruns.retry_run, acts.retry_run),
    c.ForkRun: Verb(reruns.needs_of_rerun, reruns.fork_run, acts.fork_run),
    CreateBudget: Verb(budgets.needs_of_create, budgets.create_budget, acts.create_budget),
    ChangeBudget: Verb(budgets.needs_of_budgets, budgets.change_budget, acts.change_budget),
    DeleteBudget: Verb(budgets.needs_of_budgets, budgets.delete_budget, acts.delete_budget),
    ReserveBudget: Verb(budgets.needs_of_reserve, budgets.reserve),
    CreatePrice: Verb(prices.needs_of_prices, prices.create_price, acts.create_price),
    DeletePrice: Verb(prices.needs_of_prices, prices.delete_price, acts.delete_price),
    CorrectCosts: Verb(needs_of_correct, correct_costs, acts.reprice),
    CreateRule: Verb(alerts.needs_of_rule, alerts.create_rule, of_alerts.create_rule),
    ChangeRule: Verb(alerts.needs_of_rule, alerts.change_rule, of_alerts.change_rule),
    DeleteRule: Verb(alerts.needs_of_rule, alerts.delete_rule, of_alerts.delete_rule),
    AcknowledgeAlert: Verb(alerts.needs_of_alert, alerts.acknowledge, of_alerts.acknowledge),
    MuteAlert: Verb(alerts.needs_of_alert, alerts.mute, of_alerts.mute),
    Redeliver: Verb(alerts.needs_of_redeliver, alerts.redeliver, of_alerts.redeliver),
    RedeliverFrom: Verb(alerts.needs_of_redeliver_from, alerts.redeliver_from, of_alerts.redeliver_from),
    m.CreateMember: Verb(members.needs_of_create, members.create_member, of_members.create_member),
    m.ChangeMember: Verb(members.needs_of_change, members.change_member, of_members.change_member),
    m.RemoveMember: Verb(members.needs_of_removal, members.remove_member, of_members.remove_member),
    m.MakeSignInLink: Verb(members.needs_of_link, members.make_link, of_members.make_link),
    m.EndSignInLink: Verb(members.needs_of_link_end, members.end_link, of_members.end_link),
    m.StartSession: Verb(members.needs_of_start, members.start_session, of_members.start_session),
    m.EndSessions: Verb(members.needs_of_end, members.end_sessions, of_members.end_sessions),
    m.SetPassword: Verb(members.needs_of_password, members.set_password, of_members.set_password),
    c.KeepContent: Verb(needs_of_parts, keep_parts),
    c.KeepReply: Verb(needs_of_reply, keep_reply),
}
"""Every writing command. One that is an act of a person names what the audit says of it."""


class Engine:
    """One engine to a store."""

    def __init__(
        self,
        store: Store,
        wake: Wake,
        clock: Clock,
        ids: Ids,
        settings: EngineSettings | None = None,
        ways_out: WaysOut | None = None,
        price_list: PriceList | None = None,
    ) -> None:
        """`wake` is told of every commit. `ways_out`: how people are told of alerts; without, messages wait.
        `price_list`: prices of models; without it what tells no cost stays unpriced."""
        settings = settings or EngineSettings()
        self._store = store
        self._hearing = Hearing(clock)
        self._reads = Reads(store, clock, self._hearing, settings.thresholds)
        self._hub = Hub()
        self._wake = wake
        self._polls = Polls()
        self._waits = Waits(self._polls, self._write, store.runs_by_number, clock)
        self._hub.listen_to(wake)
        self._polls.listen_to(wake)
        self._rows = RowChannels(self._reads)
        self._rows.listen_to(wake)
        self._replies = Replies(store, self._reads)
        listed = price_list or NoPrices()
        self._book = PriceBook(listed)
        self._writer = Writer(
            store,
            self._hearing,
            ids,
            VERBS,
            wake.committed,
            REACTIONS._replace(book=PriceBook(listed)),
            max_queue=settings.max_queue,
        )
        self.enlist: Callable[[Principal, c.Append | c.Report, str, Waiter, int], None] = self._writer.intake.enlist
        """Carries out telemetry; the waiter is told what came of it. Raises what refuses it at once.

        What is long of it must have been stored: see `stored_first`.
        """
        submit = self._writer.intake.submit
        self._once = AnsweredOnce(submit)
        self.stored_first = LongHistories(store, lambda who, parts: submit(who, parts, "", None)).stored_first
        """Stores the long histories of a command, and gives the command without them."""
        self._workers = Workers(self._hearing)
        self._timer = Timer(self._timed(settings), lambda: self.before_sweep())
        # Beside the other: however many rules there are, what they look at delays no lease and no cancel.
        self._watching = Timer(self._watched(settings))
        self.before_sweep: Callable[[], None] = lambda: None
        """Called by the timer whenever it begins to look at what time has brought about."""
        self._sender = None if ways_out is None else self._sending(ways_out, settings)
        self._tasks: list[asyncio.Task[None]] = []

    def _timed(self, settings: EngineSettings) -> tuple[TimedService, ...]:
        """What is looked at again and again, in this order."""
        store, hearing, upkeep = self._store, self._hearing, self._writer.upkeep
        return (
            ExpiredLeases(upkeep),
            SpreadingCancels(upkeep),
            OverdueCancels(upkeep, settings.cancel_deadline_seconds * 1000),
            SilentRuns(hearing, upkeep, settings.thresholds),
            SteppingBudgets(hearing, upkeep),
            ExpiredReservations(upkeep),
            ExpiredApprovals(store, hearing, upkeep),
            OldReplies(store, hearing),
            OldSessions(store, hearing),
            OldAlerts(store, hearing),
        )

    def _watched(self, settings: EngineSettings) -> tuple[TimedService, ...]:
        """Alerts by time, in this order."""
        store, hearing, upkeep = self._store, self._hearing, self._writer.upkeep
        return (
            WatchedRules(store, hearing, upkeep, self._workers, has_links=settings.links is not None),
            UnwatchedAlerts(store, upkeep),
        )

    def _sending(self, ways_out: WaysOut, settings: EngineSettings) -> Sender:
        clock, pauses = self._hearing.clock, settings.delivery_pauses
        sender = Sender(self._store, self._writer.upkeep, clock, ways_out, pauses, settings.links)
        self._wake.subscribe(sender.hear, of_messages=True)
        return sender

    async def start(self) -> None:
        """Begins to take commands and to keep time."""
        self._writer.start()
        self._tasks.append(asyncio.create_task(self._timer.run(), name="towerlog-timer"))
        self._tasks.append(asyncio.create_task(self._watching.run(), name="towerlog-alerts"))
        if self._sender is not None:
            self._tasks.append(asyncio.create_task(self._sender.run(), name="towerlog-sender"))

    def drain(self) -> None:
        """Answers every long poll now; nobody waits any more."""
        self._polls.stop()

    async def stop(self) -> None:
        """Ends streams and long polls, finishes every command that was taken. The store stays open."""
        self._hub.stop_all()
        self._rows.stop_all()
        self._polls.stop()
        self._timer.stop()
        self._watching.stop()
        if self._sender is not None:
            self._sender.stop()
        for task in self._tasks:
            await task
        await self._writer.stop()

    def figures(self) -> dict[str, int]:
        """Counts for the metrics page."""
        return {
            "commands": self._writer.commands,
            "groups": self._writer.groups,
            "reloads": self._writer.reloads,
            "queue": self._writer.intake.queue.count,
            "followers": self._hub.followers + self._rows.readers,
            "disk_free_bytes": self._store.space.free_bytes,
            "disk_guard_bytes": self._store.space.guard_bytes,
            "writes_refused": int(self._store.obstacle() in REFUSING),
            "failed_checkpoints": self._store.trouble.failed_checkpoints,
            "damaged": self._store.damages.found,
            "read_failures": self._store.damages.failures,
            "deliveries_given_up": 0 if self._sender is None else self._sender.given_up,
        }

    async def execute(
        self,
        principal: Principal,
        command: c.Write | q.Read | Reprice,
        dialect: str = "",
        idempotency: c.Idempotency | None = None,
        address: str | None = None,
    ) -> o.Outcome:
        """Carries out one command. A writing one is durable when this returns. Raises TowerlogError.

        `address`: where it came from, for the audit.
        """
        if isinstance(command, c.Claim):
            self._workers.note(principal, command.agents, command.labels)
        if isinstance(command, c.Claim) and command.wait_ms:
            return await self._waits.claim(principal, command, dialect, idempotency)
        if type(command) not in VERBS:
            work = partial(self._answer, principal, command, address)  # type: ignore[arg-type]  # what is no verb reads
            return await (work() if idempotency is None else self._once.answer(principal, dialect, idempotency, work))
        outcome = await self._write(principal, command, dialect, idempotency, address)  # type: ignore[arg-type]  # a verb
        if isinstance(command, c.Append | c.Report) and command.wait_ms:
            return await self.hold(principal, command, outcome, dialect)
        return outcome

    async def _answer(self, principal: Principal, command: q.Read | Reprice, address: str | None) -> o.Outcome:
        """What is worked out beside the writer."""
        if isinstance(command, Reprice):
            repricing = Repricing(self._store, self._book, lambda who, what: self._write(who, what, "", None, address))
            return await repricing.answer(principal, command)
        return await self._reads.answer(principal, command)

    async def hold(
        self, principal: Principal, command: c.Append | c.Report, outcome: o.Outcome, dialect: str
    ) -> o.Outcome:
        """Holds back the reply to telemetry that is stored until there is a command, up to the command's time.

        Reads nothing of its items: whoever waits with it may drop them.
        """
        return await self._waits.hold(principal, command, outcome, dialect)

    async def _write(
        self,
        principal: Principal,
        command: c.Write,
        dialect: str,
        idempotency: c.Idempotency | None,
        address: str | None = None,
    ) -> o.Outcome:
        """Commits a command; then, beside the writer, makes its answer and has that kept for a repeat."""
        if isinstance(command, c.Append | c.Report):
            command = await self.stored_first(principal, command)
        placed = await self._writer.intake.submit(principal, command, dialect, idempotency, address)
        if isinstance(placed, o.Replayed):
            return await self._repeated(principal, command, placed, idempotency)
        outcome = await self._replies.complete(principal, placed)
        still_waiting = isinstance(command, c.Claim) and command.wait_ms > 0 and isinstance(placed, o.NothingToClaim)
        if idempotency is not None and not still_waiting:
            status, body = idempotency.encode(outcome)
            self._writer.intake.keep_body(principal, idempotency, status, body)
        return outcome

    async def _repeated(
        self, principal: Principal, command: c.Write, known: o.Replayed, idempotency: c.Idempotency | None
    ) -> o.Replayed:
        """A worker's answer again, if what it says still holds. Raises LeaseLost."""
        if isinstance(command, lanes.BY_LEASE_HOLDER):
            run = known.run
            if run is None and not isinstance(command, c.Claim):
                run = (await self._reads.run_of(principal, command.run_id)).run
            if run is not None:  # a claim that found nothing may be told so again
                lane = await self._store.lane(principal.org, run)
                if not lanes.may_repeat(principal, command.worker_id, known.lease_epoch, lane):
                    raise LeaseLost
        if known.status or idempotency is None:
            return o.Replayed(known.status, known.body)
        # The process was lost before it had stored the reply, or the reply is on its way to the disk.
        status, body = idempotency.encode(await self._replies.again(principal, decode_ids(known.ids)))
        self._writer.intake.keep_body(principal, idempotency, status, body)
        return o.Replayed(status, body)

    async def follow(self, principal: Principal, command: q.Stream, style: FrameStyle | RowStyle) -> StreamReader:
        """Opens a stream; the caller reads and closes it. Raises NotFound, Invalid."""
        if isinstance(style, RowStyle):
            assert isinstance(command, q.FollowRows)
            return await self._rows.follow(principal, command, style)
        assert not isinstance(command, q.FollowRows)
        if isinstance(command, q.FollowRun):
            return await follow_run(self._hub, self._reads, self._store, principal, command, style)
        return await follow_agent(self._hub, self._store, principal, command, style)

    async def subject_of(self, principal: Principal, command: q.Listen) -> Subject:
        """What is to be listened to. Raises NotFound for what the caller may not know of."""
        return await subject_of(self._reads, self._store, principal, command)

    def listen(self, subject: Subject, style: FrameStyle, told: Callable[[], None]) -> Listener:
        """Listens to what `subject_of` gave, from now on; `told` is called when there is something to read."""
        return self._hub.listen(subject, style, self._store.epoch, told)
