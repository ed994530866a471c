"""A run and the runs below it, followed at once: one list of events, in the order in which they happened.

Each run is followed in a thread of its own. The caller's thread looks for runs that have come, and puts the events in
order: while a run may still have old events to tell, those of others wait for it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from towerlog.ambient import Clock, SystemClock
from towerlog.cli.escapes import json_line
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import Gap, RunEvent, RunInfo
from towerlog.sdk.wire.errors import Unreachable

MAX_FOLLOWED = 16
"""Runs that `towerlog runs tail` follows at a time. One that has ended makes room for another."""
MAX_WAITING = 200
"""Events of one run that wait to be shown; no more of it are read until then."""
MAX_WAITING_BYTES = 1024 * 1024
"""The same in bytes of their JSON, or one that is longer."""
MAX_LOOKED_AT = 500
"""Newest runs directly below one that are looked at for those that have come."""
LOOK_EVERY_MS = 1_000
"""How often runs that have come are looked for below one that has told something."""
LOOK_AT_QUIET_MS = 3_000
"""The same below one that has told nothing."""
CAUGHT_UP_MS = 300
"""A run of which nothing more has come for so long has no old events left to tell."""
FIRST_MS = 3_000
"""The same for a run of which nothing has come at all: its stream has to be opened first."""


@dataclass(frozen=True)
class Told:
    """An event and the run that it belongs to."""

    branch: Branch
    event: RunEvent | Gap


@dataclass(frozen=True)
class Remaining:
    """The run itself has ended; so many runs below it have not."""

    runs: int


class Branch:
    """One run while it is followed."""

    def __init__(self, run_id: str, depth: int = 0, label: str = "", now_ms: int = 0) -> None:
        """`depth` is 0 for the run itself; `label` tells the runs below it apart. Begun at `now_ms` of a clock."""
        self.run_id, self.depth, self.label = run_id, depth, label
        self.waiting: deque[tuple[RunEvent | Gap, int]] = deque(maxlen=MAX_WAITING)
        """Events, each with the bytes of its JSON."""
        self.waiting_bytes = 0
        self.has_ended = False
        """Whatever comes of it is in `waiting`."""
        self.failed: Exception | None = None
        self.has_news = True
        """There may be runs below it that are not followed."""
        self._looked_at_ms = -math.inf
        self._caught_up = False
        self._caught_up_ms = now_ms + FIRST_MS

    @property
    def is_over(self) -> bool:
        """Whether it has ended and all of it was taken."""
        return self.has_ended and not self.waiting

    def is_awaited(self, now_ms: int) -> bool:
        """Whether it may be about to tell what happened before the events of others."""
        if not self.waiting and now_ms >= self._caught_up_ms:
            self._caught_up = True
        return not (self.waiting or self.has_ended or self._caught_up)

    def has_room(self, size: int) -> bool:
        """Whether one more event, so many bytes long, may wait."""
        if not self.waiting:
            return True
        return len(self.waiting) < MAX_WAITING and self.waiting_bytes + size <= MAX_WAITING_BYTES

    def add(self, event: RunEvent | Gap, size: int, now_ms: int) -> None:
        """Adds what has come of it."""
        self.waiting.append((event, size))
        self.waiting_bytes += size
        self.has_news = True
        self._caught_up_ms = now_ms + CAUGHT_UP_MS

    def take(self) -> RunEvent | Gap:
        """Pops the oldest waiting event."""
        event, size = self.waiting.popleft()
        self.waiting_bytes -= size
        return event

    def is_to_be_looked_below(self, now_ms: int) -> bool:
        """Whether runs may have come below it since that was asked last; then it is asked now."""
        passed_ms = now_ms - self._looked_at_ms
        if passed_ms < (LOOK_EVERY_MS if self.has_news else LOOK_AT_QUIET_MS) or (self.is_over and not self.has_news):
            return False
        self.has_news, self._looked_at_ms = False, now_ms
        return True


class Tree:
    """Follows a run and what is below it, for one caller."""

    def __init__(self, client: Client, run_id: str, after_seq: int = 0, *, with_children: bool = True) -> None:
        """`after_seq` is for the run itself; those below it are told from their beginning, or only counted."""
        self._client = client
        self._clock: Clock = SystemClock()
        self._with_children = with_children
        self._after_seq = after_seq
        self._news = threading.Condition()
        self._branches: dict[str, Branch] = {}
        self._agents: dict[str, int] = {}
        self._next_look_ms: float = 0 if with_children else math.inf
        self.left_out = 0
        """Runs below that are not followed now, since so many others are."""
        self.remaining = 0
        """Runs below that had not ended when they were looked at."""
        self._root = self._begin(Branch(run_id, now_ms=self._clock.steady_ms()))

    def events(self) -> Iterator[Told | Remaining]:
        """All of them, until the run and those below it have ended. Raises ApiError, Unreachable."""
        is_told = False
        while True:
            if self._clock.steady_ms() >= self._next_look_ms:
                self._look_below()
            told = self._taken()
            if told is not None:
                yield told
            elif self._root.is_over and not is_told:
                self._look()
                is_told = True
                if self.remaining and self._with_children:
                    yield Remaining(self.remaining)
            elif self._is_over():
                # Once more, for what was begun at the very end.
                self._look()
                if self._is_over():
                    return

    def _is_over(self) -> bool:
        return all(branch.is_over for branch in self._branches.values())

    def _look_below(self) -> None:
        """Looks for runs that have come below those that are followed, while there is room for one.

        Asks for rows: the run itself brings what it was given, its result and the whole tree, however often it is read.
        """
        now_ms = self._clock.steady_ms()
        self._next_look_ms = now_ms + LOOK_EVERY_MS
        try:
            for branch in tuple(self._branches.values()):
                self._look_below_one(branch, now_ms)
        except Unreachable:
            # Those that follow decide how long to wait for the server.
            return

    def _look_below_one(self, branch: Branch, now_ms: int) -> None:
        if self._room() <= 0 or not branch.is_to_be_looked_below(now_ms):
            return
        newest = list(islice(self._client.list_runs(parent_run_id=branch.run_id), MAX_LOOKED_AT))
        for info in reversed(newest):
            if info.run_id in self._branches:
                continue
            if self._room() <= 0:
                branch.has_news = True
                return
            # What is below it may have told something before the run above goes on.
            self._look_below_one(self._begin_below(info, branch.depth + 1), now_ms)

    def _look(self) -> None:
        """Looks at the whole tree: once its run has ended, and before it is said that all in it have."""
        try:
            root = self._client.get_run(self._root.run_id)
        except Unreachable:
            return
        self.left_out = self.remaining = 0
        for info, depth in _below(root, 1):
            self.remaining += info.ended_at is None
            if info.run_id in self._branches:
                continue
            if self._room() > 0 and self._with_children:
                self._begin_below(info, depth)
            else:
                self.left_out += 1

    def _begin_below(self, info: RunInfo, depth: int) -> Branch:
        return self._begin(Branch(info.run_id, depth, self._label_of(info), self._clock.steady_ms()))

    def _room(self) -> int:
        return MAX_FOLLOWED - sum(not branch.is_over for branch in self._branches.values())

    def _begin(self, branch: Branch) -> Branch:
        self._branches[branch.run_id] = branch
        threading.Thread(target=self._follow, args=(branch,), name="towerlog-tail", daemon=True).start()
        return branch

    def _label_of(self, info: RunInfo) -> str:
        """The name of its agent, with a number where the tree has several of it."""
        agent = info.agent or "run"
        number = self._agents[agent] = self._agents.get(agent, 0) + 1
        return agent if number == 1 else f"{agent} {number}"

    def _follow(self, branch: Branch) -> None:
        try:
            for event in self._client.follow(branch.run_id, 0 if branch.depth else self._after_seq):
                size = len(json_line(event.raw, compact=True))
                with self._news:
                    self._news.wait_for(partial(branch.has_room, size))
                    branch.add(event, size, self._clock.steady_ms())
                    self._news.notify_all()
        except Exception as error:  # whatever it is, the run was not told to its end: the caller's thread raises it
            branch.failed = error
        finally:
            with self._news:
                branch.has_ended = True
                self._news.notify_all()

    def _taken(self) -> Told | None:
        """The next event; None where there is none after a moment. Raises what has ended the following of a run."""
        with self._news:
            now_ms = self._clock.steady_ms()
            ready = [branch for branch in self._branches.values() if branch.waiting]
            if ready and not any(branch.is_awaited(now_ms) for branch in self._branches.values()):
                branch = min(ready, key=_place_of_next)
                event = branch.take()
                self._news.notify_all()
                return Told(branch, event)
            failed = [branch.failed for branch in self._branches.values() if branch.failed and branch.is_over]
            if failed:
                raise failed[0]
            if not self._is_over():
                self._news.wait(CAUGHT_UP_MS / 1000)
            return None


def _place_of_next(branch: Branch) -> int:
    """Where the next event of a run stands in the log that all runs share."""
    event, _ = branch.waiting[0]
    return 0 if isinstance(event, Gap) else event.position


def _below(run: RunInfo, depth: int) -> Iterator[tuple[RunInfo, int]]:
    for child in run.children:
        yield child, depth
        yield from _below(child, depth + 1)
