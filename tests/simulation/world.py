"""The world of a simulation: the real engine on a real store, and callers whose every move the seed decides.

Workers claim, report, sleep past their leases, come back late with old epochs, send things twice; people create,
answer, pause, cancel and kill; clocks jump; the engine is stopped, or its process lost in the middle of a commit. After
each step the rows must be what the reference model says they are.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from tests.simulation.crash import Moment, lose
from tests.simulation.model import CANCEL_DEADLINE_MS, PEOPLE, Model, Sent
from tests.support.backends import SqliteBackend
from tests.support.factories import identity
from tests.support.fakes import FakeClock, SeededIds
from tests.support.rig import QuietEngine, at_rest
from towerlog.engine.core import EngineSettings
from towerlog.errors import TowerlogError
from towerlog.model import command as c
from towerlog.model import question as q
from towerlog.model.event import Draft, EventType, RunById
from towerlog.model.facts import Effects, Facts, some
from towerlog.model.outcome import Appended, Claimed, KeyMinted, NothingToClaim, Replayed, Reported, RunCreated, Stored
from towerlog.model.pending import Pending
from towerlog.model.principal import Principal, Scope
from towerlog.model.usage import Usage, UsageReport
from towerlog.store.sqlite.store import SqliteStore

WORKERS = ("w1", "w2", "w3")
TEAMS = {"w1": "a", "w2": "b", "w3": "b"}
"""Worker → who runs it. Each has one API key at a time, which it shares with what else it runs."""
THREADS = ("t1", "t2", "t3", "t4")
LEASES_MS = (60_000, 120_000)
PAUSES_MS = (0, 1_000, 10_000, 31_000, 45_000, 61_000, 100_000, 125_000)
HOUR_MS = 3_600_000
STEPS = 48
GO_PAST_EVERY = 10
"""One world of so many ends with an attempt that goes past what the one before has asked: that comes about by chance in
hardly any."""
WISHES = ("input", "message", "pause", "resume", "cancel")
ANY = "whatever is asked"
"""What people say who name no question."""
KEYS = (None, "k1", "k1", "k2")
"""What an agent calls its questions."""

Answer = object
Check = Callable[[Answer], None]
"""What the model makes of an answer; raises AssertionError for a wrong one."""


class Wrong(AssertionError):
    """A law was broken; says by which seed and in which step."""


@dataclass(eq=False)
class Act:
    """A command, who judges the answer, and how it is told."""

    said: str
    command: c.Write
    check: Check
    key: str = "people"
    """What it is sent under."""
    idempotency: c.Idempotency | None = None


class World:
    """One seed's world."""

    def __init__(self, seed: int, folder: Path, org: tuple[int, str]) -> None:
        """`folder` holds a store with the organisation of this number and id."""
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.ids = SeededIds(seed)
        self.model = Model(self.clock.now_ms)
        self.told: list[str] = []
        self.org = org[0]
        self._folder = folder
        self._people = Principal(org[0], org[1], identity(1)[1].user_id, "people", frozenset(Scope))
        self._keys: dict[str, str] = {}
        """Team → its key."""
        self._store: SqliteStore
        self._engine: QuietEngine
        self._claims: dict[str, list[tuple[str, int]]] = {worker: [] for worker in WORKERS}
        self._markers = 0
        self._seen: dict[str, dict[int, str]] = {}
        """Run → the questions that people have seen in it: id → marker."""
        self._sent: list[Act] = []
        self._dumps = 0
        self._max_runs = self.chance.choice((1, 3, 6))
        self._goes_past = seed % GO_PAST_EVERY == 0
        self._steps = self._moods(
            {
                self._some_acts: 60,
                self._pass_time: 14,
                self._sweep: 14,
                self._jump: 8,
                self._restart: 2,
                self._crash: 3,
                self._question: 4,
                self._rotate: 2,
            }
        )
        self._pauses = self._moods(dict.fromkeys(PAUSES_MS, 1))
        self._acts = self._moods(
            {
                self._create: 10,
                self._claim: 16,
                self._claim_run: 5,
                self._report: 26,
                self._release: 6,
                self._finish: 8,
                self._cancel: 7,
                self._kill: 2,
                self._steer: 8,
                self._input: 5,
                self._append: 8,
                self._again: 6,
            }
        )

    def _moods(self, usual: dict[Any, int]) -> dict[Any, float]:
        """Each world does some things much more and others much less than usual: together they get everywhere."""
        return {kind: weight * self.chance.choice((0.3, 1, 1, 4)) for kind, weight in usual.items()}

    @property
    def store(self) -> SqliteStore:
        """The store, as it is open now."""
        return self._store

    async def open(self) -> None:
        """Opens store and engine. Nothing here must survive a power cut, so no disk is waited for."""
        self._store = await SqliteBackend.fresh(self._folder).open(self.clock, self.ids)
        await self._store.writer.call(lambda db: db.pragma("synchronous", "off"))
        settings = EngineSettings(cancel_deadline_seconds=CANCEL_DEADLINE_MS // 1000)
        self._engine = QuietEngine(self._store, self.clock, self.ids, settings)
        await self._engine.start()

    async def close(self) -> None:
        """Stops engine and store."""
        await self._engine.stop()
        await self._store.close()

    async def live(self) -> None:
        """All steps, then the end of every run."""
        for team in dict.fromkeys(TEAMS.values()):
            await self._give_key(team)
        for _ in range(STEPS):
            before = len(self.told)
            while len(self.told) == before:
                await self._step()
            await self.compare()
        if self._goes_past:
            await self._go_past()
        await self._drain()

    async def _step(self) -> None:
        await self.chance.choices(list(self._steps), list(self._steps.values()))[0]()

    # time and faults

    async def _pass_time(self) -> None:
        pause_ms = self.chance.choices(list(self._pauses), list(self._pauses.values()))[0]
        self.told.append(f"{pause_ms} ms pass")
        await at_rest(self._store)
        self.clock.advance(pause_ms)

    async def _jump(self) -> None:
        by_ms = self.chance.choice((-HOUR_MS, HOUR_MS, -1000, 45_000))
        self.told.append(f"the wall clock jumps by {by_ms} ms")
        self.clock.jump(by_ms)

    async def _give_key(self, team: str) -> None:
        made = await self._engine.execute(self._people, c.CreateKey(team, (Scope.INGEST, Scope.WORKER)))
        assert isinstance(made, KeyMinted)
        self._keys[team] = made.key.key_id

    async def _rotate(self) -> None:
        """A key is revoked and replaced; what was sent under the old one may still be on its way."""
        team = self.chance.choice(sorted(self._keys))
        self.told.append(f"{team} gets a new key")
        old = self._keys[team]
        await self._give_key(team)
        await self._engine.execute(self._people, c.RevokeKey(old))
        self.model.revoked.add(old)

    def _as(self, key: str) -> Principal:
        return msgspec.structs.replace(self._people, key_id=key)

    def _key_of(self, worker: str) -> str:
        """The key that a worker's request comes under: its own, or seldom somebody else's."""
        if self.chance.random() < 0.12:
            return self.chance.choice(["people", *sorted(self._keys.values()), *sorted(self.model.revoked)])
        return self._keys[TEAMS[worker]]

    async def _sweep(self) -> None:
        self.told.append("sweep")
        await self._engine.sweep()
        self.model.sweep(self.clock.steady_ms())

    async def _restart(self) -> None:
        self.told.append("restart")
        await self.close()
        await self._reopen()

    async def _reopen(self) -> None:
        self.clock.restart()
        self.model.restart(self.clock.steady_ms())
        await self.open()

    async def _crash(self) -> None:
        """The process is lost in the middle of a batch: what the disk held at that moment is all there is."""
        run_id = self._any_run()
        if run_id is None:
            return
        items, key = [self._item() for _ in range(3)], self._any_key()
        command = c.Append("steps", [self._draft(run_id, item) for item in items])
        moment = Moment(self.chance.randrange(4))
        lost, self._dumps = self._folder, self._dumps + 1
        self._folder = lost.parent / f"{lost.name.split('+')[0]}+{self._dumps}"
        torn_percent = self._dumps * 37 % 100
        await lose(
            moment,
            self._store,
            lost,
            self._folder,
            lambda: self._engine.execute(self._as(key), command, "steps"),
            torn_percent,
        )
        await self.close()
        await self._reopen()
        row = await self._store.run(self.org, run_id)
        assert row is not None
        stored = {event.sent_id for event in await self._store.events(self.org, row.run, 0, 1000)}
        there = [item.marker in stored for item in items]
        assert len(set(there)) == 1, "half a batch survived"
        assert there[0] == (moment is Moment.AFTER), f"lost at {moment.name}, and the batch is there: {there[0]}"
        # The sender, who got no answer, sends it all again.
        self.told.append(f"crash while {[item.marker for item in items]} are told to {run_id[-4:]}")
        if there[0]:
            self.model.append(run_id, key, items)
        await self._do([self._append_act(run_id, key, items)])

    def _any_key(self) -> str:
        return self.chance.choice(["people", *sorted(self._keys.values()) * 2])

    # acts

    async def _some_acts(self) -> None:
        count = self.chance.choice((1, 1, 1, 2, 4))
        acts: list[Act] = []
        for act in (self._act() for _ in range(count)):
            if act is not None and act not in acts:
                acts.append(act)
        if acts:
            await self._do(acts)

    async def _question(self) -> None:
        """A worker asks a person, or two things at once, of which one is answered by name; then it gives up, is told to
        go on although it waits, or is not heard of any more."""
        now = self.clock.steady_ms()
        held = [run_id for run_id, run in self.model.runs.items() if run.lane == "held" and run.deadline > now]
        if not held:
            return
        run_id = self.chance.choice(held)
        run = self.model.runs[run_id]
        worker, key, epoch = run.worker or "", run.key or "", run.epoch
        if self.chance.random() < 0.5:
            for action in ("pause", "resume"):
                await self._do([self._steer_act(run_id, action)])
        asked = [self._item("waiting_for_input") for _ in range(self.chance.choice((1, 1, 2)))]
        await self._do([self._report_act(worker, key, run_id, epoch, asked)])
        if len(asked) > 1:
            await self._do([self._input_act(run_id, named=True)])
        if self.chance.random() < 0.3:
            await self._do([self._input_act(run_id)])
            await self._do([self._report_act(worker, key, run_id, epoch, [self._item("withdrawn")])])
        elif self.chance.random() < 0.5:
            await self._do([self._report_act(worker, key, run_id, epoch, [self._item(None, ("resume",))])])
        else:
            await at_rest(self._store)
            self.clock.advance(run.lease_ms)
            await self._sweep()
            for _ in range(2):
                await self._do([self._input_act(run_id)])

    async def _go_past(self) -> None:
        """An attempt asks, and is not heard of any more; the next one asks something else, and that is answered."""
        self._max_runs += 1
        await self._do([self._create_act("t5", None)])
        run_id, lease_ms = list(self.model.runs)[-1], LEASES_MS[0]
        for worker in WORKERS[:2]:
            key = self._keys[TEAMS[worker]]
            await self._do([self._claim_run_act(run_id, worker, key, lease_ms)])
            self._markers += 1
            asked = Sent(f"m{self._markers}", "waiting_for_input")
            await self._do([self._report_act(worker, key, run_id, self.model.runs[run_id].epoch, [asked])])
            if worker == WORKERS[0]:
                await at_rest(self._store)
                self.clock.advance(lease_ms)
                await self._sweep()
        await self._do([self._input_act(run_id)])
        await self.compare()

    async def _do(self, acts: list[Act]) -> None:
        """Sends them at once, so that they share a group; the model takes them in the order they were sent."""
        self._candidates = self.model.claimable(self.clock.steady_ms())
        self.told.append(" | ".join(act.said for act in acts))
        sent: list[Coroutine[Any, Any, Any]] = [
            self._engine.execute(self._as(act.key), act.command, "lanes", act.idempotency) for act in acts
        ]
        for act, answer in zip(acts, await asyncio.gather(*sent, return_exceptions=True), strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, TowerlogError):
                raise answer
            act.check(answer)
        self._sent = (self._sent + acts)[-8:]

    def _act(self) -> Act | None:
        if all(run.ended for run in self.model.runs.values()):
            return self._create()
        act: Act | None = self.chance.choices(list(self._acts), list(self._acts.values()))[0]()
        return act

    def _any_run(self) -> str | None:
        open_runs = [run_id for run_id, run in self.model.runs.items() if not run.ended]
        runs = open_runs if open_runs and self.chance.random() < 0.8 else list(self.model.runs)
        return self.chance.choice(runs) if runs else None

    def _create(self) -> Act | None:
        if sum(not run.ended for run in self.model.runs.values()) >= self._max_runs:
            return None
        thread = self.chance.choice(THREADS)
        open_runs = [run_id for run_id, run in self.model.runs.items() if not run.ended]
        ending = [run_id for run_id in open_runs if self.model.runs[run_id].status == "cancelling"]
        return self._create_act(thread, self.chance.choice([None, *open_runs, *ending, *ending]))

    def _create_act(self, thread: str, parent: str | None) -> Act:
        key = self.ids.token(8)
        made: list[str] = []

        def check(answer: Answer) -> None:
            if made:
                assert answer == Replayed(200, made[0].encode()), f"made again: {answer!r}"
                return
            assert isinstance(answer, RunCreated), repr(answer)
            made.append(answer.run_id)
            self.model.create(answer.run_id, thread, parent, self.clock.steady_ms())

        idempotency = c.Idempotency("POST /runs", key, key.encode(), lambda outcome: (200, outcome.run_id.encode()))
        return Act(f"create in {thread}", c.CreateRun(thread, parent_run_id=parent), check, idempotency=idempotency)

    def _claim(self) -> Act:
        worker, lease_ms = self.chance.choice(WORKERS), self.chance.choice(LEASES_MS)
        key = self._key_of(worker)

        def check(answer: Answer) -> None:
            expected = self.model.claim(self._candidates, worker, key, lease_ms, self.clock.steady_ms())
            if expected is None:
                assert isinstance(answer, NothingToClaim), f"nothing was claimable, the answer is {answer!r}"
            else:
                assert isinstance(answer, Claimed), f"{expected} was claimable, the answer is {answer!r}"
                assert answer.view.row.run_id == expected, "another run's turn"
                self._is_told(expected, answer.view.row.pending)
                self._handed_out(expected, worker, answer)

        return Act(f"{worker} claims for {lease_ms} by {key[-4:]}", c.Claim(worker, lease_ms), check, key)

    def _is_told(self, run_id: str, commands: Sequence[Pending]) -> None:
        """A reply carries what is wanted, and that is noted."""
        found = [(command.type, command.delivered) for command in commands]
        assert found == self.model.runs[run_id].told, f"{run_id[-4:]} is told {found}"

    def _handed_out(self, run_id: str, worker: str, answer: Claimed) -> None:
        run = self.model.runs[run_id]
        assert (answer.lane.epoch, answer.lane.attempt) == (run.epoch, run.attempt), "epoch or attempt"
        self._claims[worker].append((run_id, run.epoch))
        assert answer.lane.key_id == run.key, "the lease is another key's"

    def _claim_run(self) -> Act | None:
        run_id = self._any_run()
        if run_id is None:
            return None
        worker, lease_ms = self.chance.choice(WORKERS), self.chance.choice(LEASES_MS)
        return self._claim_run_act(run_id, worker, self._key_of(worker), lease_ms)

    def _claim_run_act(self, run_id: str, worker: str, key: str, lease_ms: int) -> Act:
        def check(answer: Answer) -> None:
            expect(self.model.claim_run(run_id, worker, key, lease_ms, self.clock.steady_ms()), answer)
            if isinstance(answer, Claimed):
                self._handed_out(run_id, worker, answer)
                self._is_told(run_id, answer.view.row.pending)

        return Act(f"{worker} claims {run_id[-4:]} by {key[-4:]}", c.ClaimRun(run_id, worker, lease_ms), check, key)

    def _memory(self) -> tuple[str, str, str, int | None] | None:
        """A worker, its key, and a claim that it once had and may have lost long ago; old senders know no epoch."""
        known = [worker for worker in WORKERS if self._claims[worker]]
        worker = self.chance.choice(known or WORKERS)
        if not known or self.chance.random() < 0.05:
            run_id = self._any_run()
            return None if run_id is None else (worker, self._key_of(worker), run_id, None)
        run_id, epoch = self.chance.choice(self._claims[worker][-3:])
        run = self.model.runs[run_id]
        # A worker keeps the key that it claimed with until it is started anew.
        key = run.key if run.worker == worker and run.key is not None and self.chance.random() < 0.8 else None
        return worker, key or self._key_of(worker), run_id, epoch if self.chance.random() < 0.8 else None

    def _item(self, status: str | None = None, takes: tuple[str, ...] = ("input",)) -> Sent:
        self._markers += 1
        taken = self.chance.choice(takes) if self.chance.random() < 0.2 + 0.1 * len(takes) else None
        key = self.chance.choice(KEYS) if status in ABOUT_QUESTIONS else None
        return Sent(f"m{self._markers}", status, self.chance.choice((0, 1, 7)), taken, key)

    def _draft(self, run_id: str, item: Sent) -> Draft:
        report = UsageReport(Usage(input_tokens=item.spent), "delta") if item.spent else None
        kind = EventType.COMMAND_ACKNOWLEDGED if item.acknowledges_alone else KINDS[item.status]
        data = msgspec.json.encode({"marker": item.marker})
        return Draft(
            kind,
            RunById(run_id),
            data,
            Facts(
                question=item.words if item.status == "waiting_for_input" else None,
                effects=some(Effects(report=report, acknowledges=item.takes, question_key=item.key)),
            ),
            event_id=item.marker,
        )

    def _report(self) -> Act | None:
        found = self._memory()
        if found is None:
            return None
        worker, key, run_id, epoch = found
        statuses = (None,) * 6 + (
            "running",
            *("waiting_for_input",) * 3,
            *("withdrawn",) * 3,
            "paused",
            *("completed",) * 2,
        )
        wanted = tuple(wish.kind for wish in self.model.runs[run_id].pending)
        items = [self._item(self.chance.choice(statuses), wanted or WISHES) for _ in range(self.chance.randrange(3))]
        return self._report_act(worker, key, run_id, epoch, items, self.chance.choice((None, None, *LEASES_MS)))

    def _report_act(
        self, worker: str, key: str, run_id: str, epoch: int | None, items: list[Sent], lease_ms: int | None = None
    ) -> Act:
        def check(answer: Answer) -> None:
            expect(self.model.report(run_id, worker, key, epoch, lease_ms, items, self.clock.steady_ms()), answer)
            if isinstance(answer, Reported):
                self._is_told(run_id, answer.view.row.pending)

        drafts = [self._draft(run_id, item) for item in items]
        command = c.Report(run_id, worker, list(drafts), lease_ms, epoch)
        return Act(f"{worker} reports {run_id[-4:]} as {epoch} by {key[-4:]}: {items}", command, check, key)

    def _release(self) -> Act | None:
        found = self._memory()
        if found is None:
            return None
        worker, key, run_id, epoch = found

        def check(answer: Answer) -> None:
            expect(self.model.release(run_id, worker, key, epoch, self.clock.steady_ms()), answer)

        said = f"{worker} releases {run_id[-4:]} as {epoch} by {key[-4:]}"
        return Act(said, c.Release(run_id, worker, epoch), check, key)

    def _finish(self) -> Act | None:
        found = self._memory()
        return None if found is None else self._finish_act(*found)

    def _finish_act(self, worker: str, key: str, run_id: str, epoch: int | None) -> Act:
        item = self._item(self.chance.choice(("completed", "failed")))

        def check(answer: Answer) -> None:
            expect(self.model.finish(run_id, worker, key, epoch, item), answer)

        command = c.Finish(run_id, worker, self._draft(run_id, item), epoch)
        return Act(f"{worker} finishes {run_id[-4:]} as {epoch} by {key[-4:]}: {item}", command, check, key)

    def _cancel(self) -> Act | None:
        run_id = self._any_run()
        if run_id is None:
            return None
        return Act(
            f"cancel {run_id[-4:]}", c.CancelRun(run_id), lambda answer: expect(self.model.cancel(run_id), answer)
        )

    def _kill(self) -> Act | None:
        run_id = self._any_run()
        if run_id is None:
            return None
        return Act(f"kill {run_id[-4:]}", c.KillRun(run_id), lambda answer: expect(self.model.kill(run_id), answer))

    def _steer(self) -> Act | None:
        run_id = self._any_run()
        if run_id is None:
            return None
        return self._steer_act(run_id, self.chance.choice(("pause", "pause", "resume")))

    def _steer_act(self, run_id: str, action: str) -> Act:
        def check(answer: Answer) -> None:
            expect(self.model.steer(run_id, action), answer)

        return Act(f"{action} {run_id[-4:]}", c.SteerRun(run_id, action), check)

    def _input(self) -> Act | None:
        run_id = self._any_run()
        return None if run_id is None else self._input_act(run_id, self.chance.random() < 0.5)

    def _input_act(self, run_id: str, named: bool = False) -> Act:
        """A person answers a question that they have seen, which may be over by now; or whatever is open."""
        seen = list(self._seen.get(run_id, {}).items())
        question_id, marker = self.chance.choice(seen[-4:]) if named and seen else (None, None)
        command = c.GiveInput(run_id, marker or ANY, question_id)

        def check(answer: Answer) -> None:
            expect(self.model.input(run_id, marker), answer)

        return Act(f"input for {run_id[-4:]}, {marker}", command, check)

    def _append(self) -> Act | None:
        run_id = self._any_run()
        if run_id is None:
            return None
        given_back = [one for one, run in self.model.runs.items() if run.lane == "queued" and run.epoch]
        if given_back and self.chance.random() < 0.5:
            # Even for who made it only a claim takes it out of the queue again.
            begun = replace(self._item("running"), takes=None)
            return self._append_act(self.chance.choice(given_back), PEOPLE, [begun])
        # Of a run that was never claimed this would make one that needs no worker: not what is looked at here.
        running = ("running",) * 3 + ("paused", "waiting_for_input") if self.model.runs[run_id].epoch else ()
        wanted = tuple(wish.kind for wish in self.model.runs[run_id].pending) if running else ()
        item = self._item(self.chance.choice((None,) * 7 + ("failed", *running)), wanted or ("input",))
        return self._append_act(run_id, self._any_key(), [item])

    def _append_act(self, run_id: str, key: str, items: list[Sent]) -> Act:
        """Telemetry of somebody who names no worker."""

        def check(answer: Answer) -> None:
            expect("ok", answer)
            assert isinstance(answer, Appended)
            self.model.append(run_id, key, items)
            for result in answer.results:
                assert isinstance(result, Stored), repr(result)
                if self.model.runs[run_id].tells(key):
                    self._is_told(run_id, result.commands)
                elif self.model.runs[run_id].ended and key == PEOPLE:
                    # Of a run that somebody else has ended its maker is told so, and nothing else.
                    assert all(_tells_the_end(one) for one in result.commands), f"{run_id[-4:]}: {result.commands}"
                else:
                    assert result.commands == (), f"{run_id[-4:]}: a stranger is told {result.commands}"

        command = c.Append("steps", [self._draft(run_id, item) for item in items])
        return Act(f"{run_id[-4:]} is told {items} by {key[-4:]}", command, check, key)

    def _again(self) -> Act | None:
        """A request that was answered once is sent again, word for word."""
        return self.chance.choice(self._sent) if self._sent else None

    # looking

    async def compare(self) -> None:
        """Every row is what the model says."""
        rows = {row.run_id: row for row in await self._store.runs(self.org, q.RunFilter(), 1000, None)}
        assert rows.keys() == self.model.runs.keys()
        for run_id, run in self.model.runs.items():
            row = rows[run_id]
            lane = await self._store.lane(self.org, row.run)
            assert lane is not None
            held = (run.lane, run.worker, run.epoch, run.attempt)
            ours = (run.status, *held, run.attempt, run.spent, run.told, [one.words for one in run.questions])
            theirs = (row.status, lane.state, lane.worker_id, lane.epoch, lane.attempt, row.attempt)
            pending = [(command.type, command.delivered) for command in row.pending]
            asked = [one.text or "" for one in row.questions]
            found = (*theirs, row.usage.input_tokens or 0, pending, asked)
            assert found == ours, f"{run_id[-4:]} should be {ours}, is {found}"
            markers = zip(
                [one.question_id for one in row.questions], [one.marker for one in run.questions], strict=True
            )
            self._seen.setdefault(run_id, {}).update(markers)
            if run.lane == "held":
                assert lane.expires_at == run.deadline, f"the deadline of {run_id[-4:]}"

    async def _drain(self) -> None:
        """Every run can be brought to its end: it has ended, or it can be claimed sooner or later."""
        self.told.append("drain")
        for _ in range(4 * self._max_runs):
            if all(run.ended for run in self.model.runs.values()):
                break
            await at_rest(self._store)
            self.clock.advance(max(LEASES_MS))
            await self._sweep()
            await self._do([self._claim()])
            held = [(run_id, run) for run_id, run in self.model.runs.items() if run.lane == "held"]
            await self._do(
                [self._finish_act(run.worker or "", run.key or "", run_id, run.epoch) for run_id, run in held]
            )
        await self.compare()
        assert all(run.ended for run in self.model.runs.values()), "a run neither ends nor can be claimed"


ABOUT_QUESTIONS = frozenset({"waiting_for_input", "withdrawn"})
KINDS = {
    None: EventType.OTHER,
    "running": EventType.RUN_STARTED,
    "waiting_for_input": EventType.RUN_WAITING,
    "withdrawn": EventType.RUN_QUESTION_WITHDRAWN,
    "paused": EventType.RUN_PAUSED,
    "completed": EventType.RUN_COMPLETED,
    "failed": EventType.RUN_FAILED,
}


def expect(code: str, answer: Answer) -> None:
    """The answer is the one that the model asked for."""
    actual = answer.code if isinstance(answer, TowerlogError) else "ok"
    assert actual == code, f"should be {code}, is {actual}: {answer!r}"


def _tells_the_end(command: Pending) -> bool:
    return command.type == "cancel" and (command.content or "").startswith("the run has ended as ")
