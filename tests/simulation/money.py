"""A world of runs that spend under budgets: crossings, periods, reservations, people who steer, restarts and losses.

The engine and its store are real; what must come of it is in `books`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.simulation.books import DOLLAR, HOUR_MS, Books, Hold, Purse, Spender
from tests.simulation.crash import Moment, lose
from tests.support.backends import SqliteBackend
from tests.support.factories import draft, traced
from tests.support.fakes import FakeClock, SeededIds
from tests.support.rig import QuietEngine, at_rest
from towerlog.engine.core import EngineSettings
from towerlog.engine.verify import verify_org
from towerlog.errors import BudgetExceeded
from towerlog.model import budget as b
from towerlog.model.command import Append, CreateRun, SteerRun
from towerlog.model.event import Draft, EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.liveness import Thresholds
from towerlog.model.outcome import Appended, RunCreated, Stored
from towerlog.model.principal import Principal, Scope
from towerlog.model.usage import Usage, UsageReport
from towerlog.store.sqlite.store import SqliteStore

AGENTS, THREADS = ("a1", "a2", "a3"), ("t1", "t2")
QUEUE = "queue"
"""The thread of runs that people create."""
STEPS = 70
MAX_PURSES = 6
TTLS_MS = (60_000, 300_000)
"""None for which a key may hold less than a half of a budget."""
TOLD = {EventType.BUDGET_WARNING: "warning", EventType.BUDGET_EXCEEDED: "exceeded"}


class _Noted(msgspec.Struct):
    budget_id: str


_decode = msgspec.json.Decoder(_Noted).decode


@dataclass(eq=False)
class Call:
    """A model call of a run."""

    run: Spender
    event_id: str
    nanos: int
    reservation: str | None = None

    def draft(self) -> Draft:
        known = self.run.parent if self.run.is_linked else None
        parent = None if known is None else f"run:{known.run_id}"
        report = UsageReport(Usage(cost_nanos=self.nanos), kind="delta")
        effects = Effects(report=report, parent_key=parent, reservation_id=self.reservation)
        ref = traced(self.run.name, self.run.thread)
        return draft(
            EventType.MODEL_CALL, ref, facts=Facts(effects=effects), agent=self.run.agent, event_id=self.event_id
        )


class Spending:
    """One seed's world."""

    def __init__(self, seed: int, folder: Path, org: tuple[int, str]) -> None:
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.ids = SeededIds(seed)
        self.told: list[str] = []
        self.books = Books()
        self.org = org[0]
        self._who = Principal(org[0], org[1], "user", "key", frozenset(Scope))
        self._folder, self._dumps, self._calls = folder, 0, 0
        self._sent: list[Call] = []
        self._store: SqliteStore
        self._engine: QuietEngine

    @property
    def store(self) -> SqliteStore:
        """The store, as it is open now."""
        return self._store

    async def open(self) -> None:
        """Opens store and engine. No run is given up."""
        self._store = await SqliteBackend.fresh(self._folder).open(self.clock, self.ids)
        await self._store.writer.call(lambda db: db.pragma("synchronous", "off"))
        never = Thresholds(stalled_ms=10**12, silent_ms=10**12, lost_ms=0)
        self._engine = QuietEngine(self._store, self.clock, self.ids, EngineSettings(thresholds=never))
        await self._engine.start()

    async def close(self) -> None:
        """Stops engine and store."""
        await self._engine.stop()
        await self._store.close()

    async def live(self) -> None:
        """All steps; then every budget is deleted, and what it has paused goes on."""
        usual = {self._spend: 40, self._make: 8, self._change: 8, self._delete: 3, self._reserve: 14}
        usual |= {self._create: 4, self._link: 6, self._steer: 8, self._sweep: 14, self._pass_time: 10}
        usual |= {self._forget: 3, self._restart: 2, self._crash: 4}
        moods = {act: weight * self.chance.choice((0.3, 1, 1, 3)) for act, weight in usual.items()}
        await self._spend()
        for _ in range(STEPS):
            await self.chance.choices(list(moods), list(moods.values()))[0]()
            await self.compare()
        while any(not purse.deleted for purse in self.books.purses):
            await self._delete()
        await self._sweep()
        await self.compare()
        assert (await self._store.budgets(self.org, 100, None)) == []
        complaints: list[str] = []
        assert await verify_org(self._store, self.org, complaints.append) == 0, complaints

    async def _do(self, command: Any) -> Any:
        return await self._engine.execute(self._who, command)

    # spending

    def _call(self) -> Call:
        """By a run that is there, or by a new one, which may stand below another."""
        spenders = [run for run in self.books.runs.values() if run.thread != QUEUE]
        if not spenders or (len(spenders) < 8 and self.chance.random() < 0.2):
            parent = self.chance.choice([None, *spenders])
            name = f"r{len(spenders) + 1}"
            run = Spender(name, self.chance.choice(AGENTS), self.chance.choice(THREADS), parent)
            run.is_linked = self.chance.random() < 0.5
        else:
            run = self.chance.choice(spenders)
        self._calls += 1
        nanos = self.chance.choice((0, 1, self.chance.randrange(DOLLAR // 2), self.chance.randrange(DOLLAR)))
        mine = [name for name, hold in self.books.holds.items() if hold.run is run]
        reservation = None
        if mine and self.chance.random() < 0.6:
            reservation = self.chance.choice(mine)
        elif self.books.holds and self.chance.random() < 0.1:
            reservation = self.chance.choice(list(self.books.holds))
        return Call(run, f"e{self._calls}", nanos, reservation)

    def _batch(self) -> list[Call]:
        again = self.chance.sample(self._sent, min(len(self._sent), self.chance.choice((0, 0, 0, 1, 3))))
        batch = [self._call()]
        if batch[0].run.name in self.books.runs:
            batch += [self._call() for _ in range(self.chance.choice((0, 0, 2)))]
        # One new run at a time: another's parent is known once that has begun.
        known = [call for call in batch[1:] if call.run.name in self.books.runs]
        return [*batch[:1], *known, *again]

    async def _spend(self) -> None:
        """Several requests at once, so that they share a group."""
        batches = [self._batch()]
        if batches[0][0].run.name in self.books.runs:
            more = (self._batch() for _ in range(self.chance.choice((0, 1, 4))))
            batches += [batch for batch in more if batch[0].run.name in self.books.runs]
        self.told.append("spend " + " | ".join(map(_words, batches)))
        answers = await asyncio.gather(*(self._do(command_of(batch)) for batch in batches))
        for batch, answer in zip(batches, answers, strict=True):
            self._spent(batch, answer)
            self._sent = (self._sent + batch)[-20:]

    def _spent(self, batch: list[Call], answer: Appended | None) -> None:
        now = self.clock.now_ms()
        for index, call in enumerate(batch):
            was_kept = call.event_id in self.books.kept
            self.books.spend(call.run, call.event_id, call.nanos, call.reservation, now)
            if answer is not None:
                result = answer.results[index]
                assert isinstance(result, Stored), repr(result)
                assert result.duplicate == was_kept, f"{call.event_id}: duplicate is {result.duplicate}"
                call.run.run_id = result.run_id
        for index, call in enumerate([] if answer is None else batch):
            told, wanted = answer.results[index], self.books.warning(call.run, now)
            assert isinstance(told, Stored)
            assert told.budget_warning == wanted, f"{call.event_id} is told {told.budget_warning!r} and not {wanted!r}"

    # budgets

    def _any_purse(self) -> Purse | None:
        left = [purse for purse in self.books.purses if not purse.deleted]
        return self.chance.choice(left) if left else None

    async def _make(self) -> None:
        if len(self.books.purses) >= MAX_PURSES:
            return
        root = self.chance.choice([run for run in self.books.runs.values() if run.thread != QUEUE])
        agent, thread = self.chance.choice(AGENTS), self.chance.choice(THREADS)
        kind, scope, subject = self.chance.choice(
            (
                (("organisation", ""), b.BudgetScope(organisation=True), "The organisation"),
                (("agent", agent), b.BudgetScope(agent=agent), f"Agent '{agent}'"),
                (("thread", thread), b.BudgetScope(thread_id=thread), f"Thread '{thread}'"),
                (("run", root.name), b.BudgetScope(run_id=root.run_id), f"Run '{root.run_id}'"),
            )
        )
        period = self.chance.choice(("total", "hour", "hour", "day", "month"))
        action = self.chance.choice(("warn", "pause", "pause"))
        amount = self.chance.randint(1, 6) * DOLLAR
        command = b.CreateBudget("ours", scope, amount, b.Period(period), b.BudgetAction(action), warn_at=0.5)
        row = (await self._do(command)).row
        self.told.append(f"{row.budget_id[-4:]}: {amount // DOLLAR} for {kind} in {period}, then {action}")
        purse = Purse(row.budget_id, subject, kind, amount, period, action, amount // 2)
        self.books.make(purse, self.clock.now_ms())

    async def _change(self) -> None:
        purse = self._any_purse()
        if purse is None:
            return
        amount = self.chance.choice((None, purse.amount + DOLLAR, 20 * DOLLAR, DOLLAR))
        period = self.chance.choice((None, None, None, "total", "hour", "day"))
        action = self.chance.choice((None, None, "warn", "pause"))
        self.told.append(f"{purse.budget_id[-4:]} becomes {amount}, {period}, {action}")
        await self._do(
            b.ChangeBudget(
                purse.budget_id,
                amount_nanos=amount,
                period=None if period is None else b.Period(period),
                action=None if action is None else b.BudgetAction(action),
            )
        )
        self.books.change(purse, self.clock.now_ms(), amount, period, action)

    async def _delete(self) -> None:
        purse = self._any_purse()
        if purse is None:
            return
        self.told.append(f"{purse.budget_id[-4:]} is deleted")
        await self._do(b.DeleteBudget(purse.budget_id))
        self.books.delete(purse)

    async def _reserve(self) -> None:
        run = self.chance.choice([run for run in self.books.runs.values() if run.thread != QUEUE])
        amount, ttl_ms = self.chance.randrange(1, 2 * DOLLAR), self.chance.choice(TTLS_MS)
        now = self.clock.now_ms()
        refusing = self.books.reserve(run, amount, now)
        answer = await self._do(b.ReserveBudget(run.run_id, amount, ttl_ms))
        self.told.append(f"{run.name} reserves {amount}: {'no' if refusing else 'yes'}")
        assert answer.refused_by == (None if refusing is None else refusing.budget_id)
        if refusing is None:
            hold = Hold(run, amount, ttl_ms, self.clock.steady_ms() + ttl_ms, self.books.in_scope(run, now))
            self.books.hold(answer.reservation_id, hold)

    # people and time

    async def _create(self) -> None:
        """A person creates a run, which a budget that is used up does not let begin."""
        made = [run for run in self.books.runs.values() if run.thread == QUEUE]
        if len(made) > 4:
            return
        run, now = Spender(f"q{len(made)}", self.chance.choice(AGENTS), QUEUE), self.clock.now_ms()
        stopping = [purse for purse in self.books.in_scope(run, now) if purse.stops]
        self.told.append(f"a run of {run.agent} is created: {'no' if stopping else 'yes'}")
        [answer] = await asyncio.gather(self._do(CreateRun(QUEUE, agent=run.agent)), return_exceptions=True)
        if stopping:
            assert isinstance(answer, BudgetExceeded), f"a run began although its budget is used up: {answer!r}"
            assert answer.message == stopping[0].words() + "."
            return
        assert isinstance(answer, RunCreated), repr(answer)
        run.run_id = answer.run_id
        self.books.begin(run, now)

    async def _link(self) -> None:
        """Somebody tells at last whose child a run is."""
        alone = [run for run in self.books.runs.values() if run.parent is not None and not run.is_linked]
        if not alone:
            return
        run = self.chance.choice(alone)
        assert run.parent is not None
        self.told.append(f"{run.name} is a child of {run.parent.name}")
        facts = Facts(effects=Effects(parent_key=f"run:{run.parent.run_id}"))
        ref = traced(run.name, run.thread)
        await self._do(Append("steps", [draft(EventType.STEP, ref, facts=facts, agent=run.agent)]))
        self.books.link(run, self.clock.now_ms())

    async def _steer(self) -> None:
        run, action = self.chance.choice(list(self.books.runs.values())), self.chance.choice(("pause", "resume"))
        self.told.append(f"{run.name}: {action}")
        await self._do(SteerRun(run.run_id, action))
        self.books.steer(run, action, self.clock.now_ms())

    async def _sweep(self) -> None:
        self.told.append("sweep")
        await self._engine.sweep()
        self.books.sweep(self.clock.now_ms(), self.clock.steady_ms())

    async def _pass_time(self) -> None:
        by_ms = self.chance.choice((1000, 59_000, 61_000, HOUR_MS, 25 * HOUR_MS))
        self.told.append(f"{by_ms} ms pass")
        await at_rest(self._store)
        if self.chance.random() < 0.2:
            self.clock.jump(by_ms)
        else:
            self.clock.advance(by_ms)

    async def _forget(self) -> None:
        self.told.append("the cache is emptied")
        self._engine.forget()

    async def _restart(self) -> None:
        self.told.append("restart")
        await self.close()
        await self._reopen()

    async def _reopen(self) -> None:
        self.clock.restart()
        await self.open()
        self.books.restart(self.clock.steady_ms())

    async def _crash(self) -> None:
        """The process is lost in the middle of a batch: all of it is there afterwards, or nothing; it is sent again."""
        batch = [call for call in self._batch() if call.run.name in self.books.runs]
        if not batch:
            return
        moment = Moment(self.chance.randrange(4))
        self.told.append(f"crash in {_words(batch)}, {moment.name}")
        lost, self._dumps = self._folder, self._dumps + 1
        self._folder = lost.parent / f"{lost.name.split('+')[0]}+{self._dumps}"
        await lose(moment, self._store, lost, self._folder, lambda: self._do(command_of(batch)), self._dumps * 37 % 100)
        await self.close()
        await self._reopen()
        if moment is Moment.AFTER:
            self._spent(batch, None)
        self._spent(batch, await self._do(command_of(batch)))

    # what must be so

    async def compare(self) -> None:
        """Every counter, every note and everything that is asked of a run is what it should be."""
        for purse in self.books.purses:
            if purse.deleted:
                continue
            self.books.turn(purse, self.clock.now_ms())
            row = (await self._do(b.GetBudget(purse.budget_id))).row
            found = (row.spent_nanos, row.reserved_nanos, row.warning_told, row.exceeded_told, row.is_exceeded)
            wanted = (
                purse.spent,
                purse.reserved,
                *[one in purse.told_of for one in ("warning", "exceeded")],
                purse.exceeded,
            )
            assert found == wanted, f"{purse.budget_id[-4:]} has {found} and not {wanted}"
        log = await self._store.log(self.org, 0, 100_000)
        told = Counter((_decode(event.data).budget_id, TOLD[event.type]) for event in log if event.type in TOLD)
        assert told == +self.books.told, "told more or less often than once for each time that it came to it"
        refused = sum(event.facts.name == "inference_budget_exceeded" for event in log)
        assert refused == self.books.refused, "a refusal is not in the log, or more than once"
        for run in self.books.runs.values():
            row = await self._store.run(self.org, run.run_id)
            assert row is not None
            asked = [one.type for one in row.pending]
            assert asked == ([] if run.asked is None else [run.asked]), f"{run.name} is asked {asked}, not {run.asked}"


def command_of(batch: list[Call]) -> Append:
    """A batch as one request."""
    return Append("steps", [call.draft() for call in batch])


def _words(batch: list[Call]) -> str:
    return ",".join(f"{call.event_id} {call.run.name} {call.nanos}" for call in batch)
