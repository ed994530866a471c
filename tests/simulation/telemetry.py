"""A world of senders that only report: numbered events, lost replies, late and doubled batches, cancels, long silences.

Each sender numbers what it says within a run, keeps what was not acknowledged, and sends it in any order and as often
as it likes. The engine and its store are real; the process may be lost in the middle of a commit, and the wall clock
is set back and forth. What must come of it is written down here without looking at how the engine does it.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from tests.simulation.crash import Moment, lose
from tests.support.backends import SqliteBackend
from tests.support.fakes import FakeClock, SeededIds
from tests.support.rig import QuietEngine, at_rest
from towerlog.engine.core import EngineSettings
from towerlog.engine.verify import verify_org
from towerlog.errors import RunNotActive
from towerlog.model.command import Append, CancelRun
from towerlog.model.event import Draft, EventType, RunByForeignId
from towerlog.model.facts import Effects, Facts, some
from towerlog.model.liveness import Thresholds
from towerlog.model.outcome import Appended, Stored
from towerlog.model.principal import Principal, Scope
from towerlog.model.run import RunRow, Status
from towerlog.store.sqlite.store import SqliteStore

E = EventType
SENDERS = ("s1", "s2", "s3")
API_KEYS = ("key 1", "key 1", "key 2")
"""What batches are sent under; which one, is not up to who said what is in them."""
CANCEL_DEADLINE_MS = 30_000
THRESHOLDS = Thresholds(stalled_ms=900_000, silent_ms=900_000, lost_ms=7_200_000)
HOUR_MS = 3_600_000
STEPS = 60
ENDS = {E.RUN_COMPLETED: Status.COMPLETED, E.RUN_CANCELLED: Status.CANCELLED}
KINDS = (E.STEP, E.STEP, E.MESSAGE_DELTA, E.TOOL_CALL, E.TOOL_RESULT, E.OTHER, E.RUN_STARTED)


@dataclass(eq=False)
class Said:
    """One event of a sender; `gave_up`: numbers that it says will not come; `takes`: a command that it acknowledges."""

    key: str
    client: str
    number: int
    kind: EventType
    gave_up: tuple[int, int] | None = None
    takes: int | None = None

    @property
    def name(self) -> str:
        return f"{self.client}-{self.key}-{self.number}"

    def draft(self) -> Draft:
        facts = Facts(
            client_id=self.client,
            client_seq=self.number,
            client_dropped=self.gave_up,
            name="heartbeat" if self.kind is E.OTHER and self.gave_up is None else None,
            tool="sh" if self.kind in (E.TOOL_CALL, E.TOOL_RESULT) else None,
            effects=some(
                Effects(
                    command_id=self.takes,
                    is_start=self.kind is E.RUN_STARTED,
                    beat=self.kind is E.OTHER and self.gave_up is None,
                )
            ),
        )
        data = msgspec.json.encode({"n": self.number})
        return Draft(self.kind, ref_of(self.key), data, facts, event_id=self.name, agent=f"agent {self.client}")


TOLD_AGAIN = -1
"""The number of a cancel that stands for a program which has begun again, until a reply tells it."""


def ref_of(key: str) -> RunByForeignId:
    """The run that senders call so."""
    return RunByForeignId(f"sdk:{key}", f"thread {key}")


@dataclass
class Known:
    """A run as it should be. Times are of a clock that nobody can set."""

    run_id: str
    status: Status = Status.RUNNING
    kept: set[str] = field(default_factory=set)
    late: int = 0
    received: dict[str, set[int]] = field(default_factory=dict)
    dropped: dict[str, set[int]] = field(default_factory=dict)
    cancel: int | None = None
    """The number of the cancel that stands."""
    stages: list[bool] = field(default_factory=lambda: [False, False, False])
    """Whether a cancel was requested, delivered, acknowledged."""
    heard_at: int = 0
    silent: bool = False
    """Was noted so."""
    api_key: str = ""
    """The key that reports it, and is told what is wanted of it."""
    implicit: bool = True
    """Nobody has told its start yet."""

    @property
    def ended(self) -> bool:
        return self.status not in (Status.RUNNING, Status.CANCELLING)

    def take(self, said: Said, now: int, api_key: str) -> None:
        """One event that is news, sent under a key."""
        begins = said.kind is E.RUN_STARTED and self.implicit
        if not self.kept or (begins and not self.ended):
            if api_key != self.api_key:
                self.received, self.dropped = {}, {}
            self.api_key = api_key
        self.implicit = self.implicit and not begins
        if said.kind is E.RUN_STARTED and self.kept and self.status is Status.CANCELLING and self.cancel is None:
            self.cancel = TOLD_AGAIN
        self.kept.add(said.name)
        if api_key == self.api_key:
            self._count(said)
        if self.ended:
            self.late += 1
            return
        self.heard_at, self.silent = now, False
        if said.takes is not None and said.takes == self.cancel:
            self.cancel, self.stages[2] = None, True
        if said.kind in ENDS:
            self.status, self.cancel = ENDS[said.kind], None

    def _count(self, said: Said) -> None:
        """The numbers of the key that reports it: those of other keys say nothing of what is missing."""
        self.received.setdefault(said.client, set()).add(said.number)
        if said.gave_up is not None:
            first, last = said.gave_up
            self.dropped.setdefault(said.client, set()).update(range(first, last + 1))

    def deliver(self, api_key: str) -> None:
        """A reply to this key has carried what is wanted, if that is for it."""
        if self.cancel is not None and self.api_key == api_key:
            self.stages[1] = True


class Reporting:
    """One seed's world."""

    def __init__(self, seed: int, folder: Path, org: tuple[int, str]) -> None:
        self.chance = random.Random(seed)
        self._key_chance = random.Random(f"keys of {seed}")
        """By itself, so that what is sent and when does not depend on it."""
        self.clock = FakeClock()
        self.ids = SeededIds(seed)
        self.told: list[str] = []
        self.runs: dict[str, Known] = {}
        self.org = org[0]
        self.passed_ms = 0
        """What the clock on everybody's wall cannot know: how much time has really passed."""
        self._up_since = 0
        self._who = {key: Principal(org[0], org[1], "user", key, frozenset(Scope)) for key in (*API_KEYS, "person")}
        self._folder, self._dumps = folder, 0
        self._numbers: dict[tuple[str, str], int] = {}
        self._boxes: dict[str, list[Said]] = {sender: [] for sender in SENDERS}
        self._sent: list[Said] = []
        self._store: SqliteStore
        self._engine: QuietEngine

    @property
    def store(self) -> SqliteStore:
        """The store, as it is open now."""
        return self._store

    async def open(self) -> None:
        """Opens store and engine."""
        self._store = await SqliteBackend.fresh(self._folder).open(self.clock, self.ids)
        await self._store.writer.call(lambda db: db.pragma("synchronous", "off"))
        settings = EngineSettings(cancel_deadline_seconds=CANCEL_DEADLINE_MS // 1000, thresholds=THRESHOLDS)
        self._engine = QuietEngine(self._store, self.clock, self.ids, settings)
        self._up_since = self.passed_ms
        await self._engine.start()

    async def close(self) -> None:
        """Stops engine and store."""
        await self._engine.stop()
        await self._store.close()

    async def live(self) -> None:
        """All steps, then silence until every run has ended."""
        usual = {self._speak: 30, self._send: 40, self._cancel: 5, self._pass_time: 20, self._jump: 5}
        usual |= {self._restart: 3, self._crash: 4}
        moods = {act: weight * self.chance.choice((0.3, 1, 1, 3)) for act, weight in usual.items()}
        for _ in range(STEPS):
            await self.chance.choices(list(moods), list(moods.values()))[0]()
            await self.compare()
        await self._fall_silent()
        complaints: list[str] = []
        assert await verify_org(self._store, self.org, complaints.append) == 0, complaints

    # what happens

    async def _speak(self) -> None:
        """A sender says something more about a run, or gives some of what it has said up."""
        sender, key = self.chance.choice(SENDERS), self.chance.choice("abcd")
        box = self._boxes[sender]
        mine = [said for said in box if said.key == key]
        if mine and self.chance.random() < 0.15:
            lost = self.chance.choice(mine)
            if self.chance.random() < 0.7:
                box.remove(lost)  # else it is found again, and may come after all
            box.append(self._next(key, sender, E.OTHER, gave_up=(lost.number, lost.number)))
            return
        run = self.runs.get(key)
        if run is not None and run.cancel not in (None, TOLD_AGAIN) and self.chance.random() < 0.5:
            box.append(self._next(key, sender, E.COMMAND_ACKNOWLEDGED, takes=run.cancel))
        kinds = (*KINDS, *ENDS) if self.chance.random() < 0.2 else KINDS
        box += [self._next(key, sender, self.chance.choice(kinds)) for _ in range(self.chance.choice((1, 1, 3, 6)))]

    def _next(
        self, key: str, sender: str, kind: EventType, gave_up: tuple[int, int] | None = None, takes: int | None = None
    ) -> Said:
        number = self._numbers[key, sender] = self._numbers.get((key, sender), 0) + 1
        return Said(key, sender, number, kind, gave_up, takes)

    def _batch(self) -> list[Said]:
        """Some of what a sender has in hand, in any order, with some that was told before."""
        box = self._boxes[self.chance.choice(SENDERS)]
        batch = self.chance.sample(box, self.chance.randint(0, len(box)))
        if self.chance.random() < 0.5:
            batch.sort(key=lambda said: said.number)
        again = self.chance.sample(self._sent, min(len(self._sent), self.chance.choice((0, 0, 1, 4))))
        return batch + again

    async def _send(self) -> None:
        """Several senders at once, so that they share a group."""
        batches = [batch for batch in (self._batch() for _ in range(self.chance.choice((1, 2, 3)))) if batch]
        keys = [self._key_chance.choice(API_KEYS) for _ in batches]
        names = (",".join(said.name for said in batch) for batch in batches)
        self.told.append("send " + " | ".join(f"{name} by {key}" for name, key in zip(names, keys, strict=True)))
        sent = (
            self._engine.execute(self._who[key], command_of(batch)) for batch, key in zip(batches, keys, strict=True)
        )
        answers = await asyncio.gather(*sent, return_exceptions=True)
        for batch, key, answer in zip(batches, keys, answers, strict=True):
            assert isinstance(answer, Appended), repr(answer)
            self._stored(batch, answer, key)
            if self.chance.random() < 0.7:
                self._acknowledged(batch)  # else the reply was lost, and all of it is told again

    def _acknowledged(self, batch: list[Said]) -> None:
        self._sent = (self._sent + batch)[-40:]
        for sender, box in self._boxes.items():
            self._boxes[sender] = [said for said in box if said not in batch]

    def _stored(self, batch: list[Said], answer: Appended | None, api_key: str) -> None:
        """What a batch that was sent under a key makes of the runs; its answer must say the same."""
        for index, said in enumerate(batch):
            result = None if answer is None else answer.results[index]
            assert result is None or isinstance(result, Stored), repr(result)
            run = self.runs.get(said.key)
            if run is None:
                assert result is not None, "a run began unheard"
                run = self.runs[said.key] = Known(result.run_id)
            if result is not None:
                assert result.run_id == run.run_id, f"{said.name} went into another run"
                assert result.duplicate == (said.name in run.kept), f"{said.name}: duplicate is {result.duplicate}"
            if said.name not in run.kept:
                run.take(said, self.passed_ms, api_key)
        for key in {said.key for said in batch}:
            self.runs[key].deliver(api_key)
        if answer is not None:
            self._is_told(batch, answer, api_key)

    def _is_told(self, batch: list[Said], answer: Appended, api_key: str) -> None:
        """A reply carries what is wanted of the runs that its sender's key reports, and of no other."""
        mine = {said.key for said in batch if self.runs[said.key].api_key == api_key}
        assert {one.ref.foreign_id.removeprefix("sdk:") for one in answer.polled} == mine, "other runs are told of"
        for said, result in zip(batch, answer.results, strict=True):
            assert not isinstance(result, Stored) or not result.commands or said.key in mine, "told to a stranger"
        for one in answer.polled:
            told = [pending.command_id for pending in one.row.pending]
            run = self.runs[one.ref.foreign_id.removeprefix("sdk:")]
            if run.cancel == TOLD_AGAIN and told:
                run.cancel = told[0]
            # Of a run that the server has ended its sender is told so, whatever it sends.
            wanted = one.row.ended_seq if run.ended and (one.row.forced or run.status is Status.LOST) else run.cancel
            assert told == ([] if wanted is None else [wanted]), "other commands are told than wanted"

    async def _cancel(self) -> None:
        if not self.runs:
            return
        key = self.chance.choice(sorted(self.runs))
        run = self.runs[key]
        self.told.append(f"cancel {key}")
        if run.ended and run.status is not Status.CANCELLED:
            with pytest.raises(RunNotActive):
                await self._engine.execute(self._who["person"], CancelRun(run.run_id))
            return
        await self._engine.execute(self._who["person"], CancelRun(run.run_id))
        if run.status is Status.RUNNING:
            row = await self._row(run)
            run.status, run.cancel, run.stages[0] = Status.CANCELLING, row.last_seq, True

    async def _pass_time(self) -> None:
        by_ms = self.chance.choice((1000, 20_000, 31_000, 60_000, 900_000, 1_800_000, 2 * HOUR_MS))
        self.told.append(f"{by_ms} ms pass")
        await self._advance(by_ms)
        for _ in range(2):
            await self._sweep()
            await self._advance(1000)

    async def _advance(self, by_ms: int) -> None:
        await at_rest(self._store)
        self.clock.advance(by_ms)
        self.passed_ms += by_ms

    async def _jump(self) -> None:
        by_ms = self.chance.choice((-HOUR_MS, HOUR_MS, 30 * HOUR_MS, -1000, 45_000))
        self.told.append(f"the wall clock jumps by {by_ms} ms")
        await self._sweep()
        self.clock.jump(by_ms)
        await self._sweep()

    async def _restart(self) -> None:
        self.told.append("restart")
        await self.close()
        self.clock.restart()
        await self.open()

    async def _crash(self) -> None:
        """The process is lost in the middle of a batch: all of it is there afterwards, or nothing."""
        batch = [said for said in self._batch() if said.key in self.runs]
        if not batch:
            return
        self.told.append("crash in " + ",".join(said.name for said in batch))
        moment, api_key = Moment(self.chance.randrange(4)), self._key_chance.choice(API_KEYS)
        lost, self._dumps = self._folder, self._dumps + 1
        self._folder = lost.parent / f"{lost.name.split('+')[0]}+{self._dumps}"
        torn_percent = self._dumps * 37 % 100
        await lose(
            moment,
            self._store,
            lost,
            self._folder,
            lambda: self._engine.execute(self._who[api_key], command_of(batch)),
            torn_percent,
        )
        await self.close()
        self.clock.restart()
        await self.open()
        news = {(said.key, said.name) for said in batch if said.name not in self.runs[said.key].kept}
        there = {name in await self._names(self.runs[key]) for key, name in news}
        assert there in (set(), {moment is Moment.AFTER}), f"lost at {moment.name}, and the news are there: {there}"
        # Of a batch without news nothing can be seen but that its reply was on record; it is told again either way.
        if there != {False}:
            self._stored(batch, None, api_key)
        answered = await self._engine.execute(self._who[api_key], command_of(batch))
        assert isinstance(answered, Appended)
        self._stored(batch, answered, api_key)
        self._acknowledged(batch)

    async def _sweep(self) -> None:
        """One turn of upkeep: what it ended or noted must have been silent for so long in truth."""
        await self._engine.sweep()
        for key, run in self.runs.items():
            row = await self._row(run)
            silence_ms = self.passed_ms - run.heard_at
            if row.silent_at is not None and not run.silent:
                assert silence_ms >= THRESHOLDS.silent_ms, f"{key} is called silent after {silence_ms} ms"
                assert self.passed_ms - self._up_since >= THRESHOLDS.silent_ms, "nobody was there to hear it"
            run.silent = row.silent_at is not None
            if row.status is Status.LOST and run.status is Status.RUNNING:
                assert silence_ms >= THRESHOLDS.lost_ms, f"{key} is given up after {silence_ms} ms"
                assert self.passed_ms - self._up_since >= THRESHOLDS.lost_ms, "given up by who had hardly listened"
                run.status = Status.LOST
            if row.forced and run.status is Status.CANCELLING:
                run.status, run.cancel = Status.CANCELLED, None

    async def _fall_silent(self) -> None:
        """However the clocks were set, nothing is left running for ever."""
        self.told.append("silence")
        behind_ms = max(0, self.passed_ms - (self.clock.now_ms() - FakeClock().now_ms()))
        for _ in range(2):
            await self._advance(behind_ms + 40 * HOUR_MS * STEPS)
            await self._sweep()
            await self._advance(CANCEL_DEADLINE_MS)
            await self._sweep()
        await self.compare()
        still = [key for key, run in self.runs.items() if not run.ended]
        assert not still, f"{still} are left running for ever"

    # what must be so

    async def _row(self, run: Known) -> RunRow:
        row = await self._store.run(self.org, run.run_id)
        assert row is not None
        return row

    async def _names(self, run: Known) -> set[str | None]:
        row = await self._row(run)
        return {event.event_id for event in await self._store.events(self.org, row.run, 0, 10_000)}

    async def compare(self) -> None:
        """Every row, every number and every stage is what was said."""
        for key, run in self.runs.items():
            row = await self._row(run)
            assert (row.status, row.late_events) == (run.status, run.late), f"{key}: {row.status}, should be {run}"
            times = (row.cancel_requested_at, row.cancel_delivered_at, row.cancel_acknowledged_at)
            assert [at is not None for at in times] == run.stages, f"{key}: its cancel's stages are {times}"
            assert await self._names(run) - {None} == run.kept, f"{key}: other events are stored than told"
            assert row.clients.keys() == run.received.keys(), f"{key}: the numbers of others are counted"
            for client, received in run.received.items():
                ledger = row.clients[client]
                dropped = run.dropped.get(client, set()) - received
                missing = set(range(1, max(received | dropped) + 1)) - received - dropped
                assert (ledger.received_count(), ledger.dropped_count()) == (len(received), len(dropped)), f"{key}"
                assert {n for first, last in ledger.missing() for n in range(first, last + 1)} == missing, f"{key}"


def command_of(batch: list[Said]) -> Append:
    """A batch as the native endpoint makes it: its runs are watched."""
    refs = {said.key: ref_of(said.key) for said in batch}
    return Append("sdk", [said.draft() for said in batch], polled=tuple(refs.values()))
