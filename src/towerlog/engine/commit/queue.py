"""The queue to the writer: commands of one organisation in the order in which they came, the organisations by shares.

A group is bounded by the work of placing and writing it, because who waits behind it waits for all of it. A command
that is more work than that by itself is a group by itself. Whose command comes next is start-time fair queueing
(Goyal, Vin, Cheng, 1996): who has had less work done goes first, and who comes after a pause has nothing saved up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import chain

from towerlog.ambient import ServingTime
from towerlog.engine.commit.group_size import MAX_GROUP_COMMANDS, MAX_GROUP_WORK, GroupSize
from towerlog.engine.commit.replies import InFlight, WaitingBodies
from towerlog.engine.commit.submission import Submission, Waiter, measured, name_of
from towerlog.engine.commit.waits import CommitWaits
from towerlog.errors import Overloaded, StorageFailed, TowerlogError, told_of
from towerlog.model.command import ABOUT_MEMBERS, TELEMETRY, Append, Idempotency, KeepContent, Report, RevokeKey, Write
from towerlog.model.event import Draft, Item
from towerlog.model.outcome import Placed, Replayed
from towerlog.model.principal import Principal
from towerlog.model.retention import ClearRetention, MarkErased, MarkThreadErased, SetRetention
from towerlog.store.base import Store
from towerlog.store.values import ReplyBody

MAX_GROUP_BYTES = 4 * 1024 * 1024
WORK_OF_CHANGE = 4
"""Whatever moves a row takes several times as long as a plain event: a start of a run begins its row and its thread."""
WORK_OF_REFUSED = 4
"""Of an item that is refused once it was compared with what is stored, beyond its own."""
WORK_OF_MEMBERS = 16
"""Of a command about a member, which is compared with all others of its group."""
MESSAGES_OF_WORK = 4
"""Messages of a history, or metas, that are as much work as one plain event: each is a row, or is looked up as one."""
BYTES_OF_WORK = MAX_GROUP_BYTES // MAX_GROUP_WORK
"""So many bytes are as much work as a plain event: a group is bounded by both."""
ORGANISATION_PART = (3, 4)
"""What part of the queue one organisation may have."""
GIVEN_UP = "This was given up for an organisation that has fewer commands waiting; nothing was stored."
MAX_REMEMBERED = 1000
"""Organisations without a command whose last work is kept while it may not matter any more."""
RETRY_AFTER_SECONDS = 1
RETRY_ON_FULL_DISK_SECONDS = 5
ON_A_FULL_DISK = (RevokeKey, SetRetention, ClearRetention, MarkErased, MarkThreadErased)
"""Commands that are carried out on what the guard has kept free: little, and not to be put off."""


class _Line:
    """What waits of one organisation, in the order in which it came, the large commands beside the others.

    A large one is placed in parts, a group each. Between two parts come other commands, as many as a group has, and
    then the next part: of the large ones in turns. So a small command waits for one part of a large one at most,
    however many there are and however long they are, and a large one for one group of small ones. The parts of one
    keep their order.
    """

    def __init__(self, most: int) -> None:
        """Empty; it takes so many of each."""
        self._small: deque[Submission] = deque(maxlen=most)
        self._large: deque[Submission] = deque(maxlen=most)
        self._is_large_next = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._small) + len(self._large)

    def __iter__(self) -> Iterator[Submission]:
        """All of them, the small ones first."""
        return chain(self._small, self._large)

    def add(self, submission: Submission) -> None:
        """Appends a command behind those of its kind."""
        (self._large if submission.is_large else self._small).append(submission)

    def put_back(self, submission: Submission) -> None:
        """What was taken comes before all others again; what is left of a large one, behind the other large ones."""
        if submission.is_large:
            self._large.append(submission)
        else:
            self._small.appendleft(submission)

    def first(self) -> Submission:
        """The next one. There is one."""
        return self._next()[0]

    def pop(self) -> Submission:
        """Takes the next one out. There is one."""
        taken = self._next().popleft()
        if taken.is_large:
            self._is_large_next = False
        return taken

    def end_group(self) -> None:
        """A group has taken what it could of the small ones: a large one comes first in the next."""
        self._is_large_next = True

    def give_way(self) -> Submission | None:
        """Takes the newest out, unless it was begun; None for none."""
        for line in (self._small, self._large):
            if line and not line[-1].is_begun:
                return line.pop()
        return None

    def _next(self) -> deque[Submission]:
        return self._large if self._large and (self._is_large_next or not self._small) else self._small


class CommandQueue:
    """Commands that wait for the next group."""

    def __init__(self, max_commands: int) -> None:
        """Empty; it takes so many."""
        self._max_commands = max_commands
        self._max_of_one = max(1, max_commands * ORGANISATION_PART[0] // ORGANISATION_PART[1])
        self._lines: dict[int, _Line] = {}
        """By organisation, of those that have any."""
        self._next: list[tuple[int, int, int]] = []
        """A heap with each of them: where its next command begins in work done, a number for equals, which it is."""
        self._begun = 0
        """Where the first command began of the group that was taken last: what comes meanwhile begins there."""
        self._ends: dict[int, int] = {}
        """Where the last command of an organisation ended that has none now."""
        self._number = 0
        self.size = GroupSize()
        self.count = 0
        """How many wait."""

    def check_room(self, org: int) -> _Line | None:
        """The organisation's commands, None for none. Raises Overloaded where one more is too many.

        When there is no more room, the organisation that has most waiting gives way: of another, its newest command is
        refused. What has been begun is durable in part, and stays.
        """
        line = self._lines.get(org)
        own = 0 if line is None else len(line)
        if own >= self._max_of_one:
            text = f"This organisation has as many commands waiting as it may have ({self._max_of_one})."
            raise Overloaded(f"{text} Nothing was stored.", retry_after=RETRY_AFTER_SECONDS)
        if self.count >= self._max_commands and not self._one_gives_way(own):
            raise Overloaded(retry_after=RETRY_AFTER_SECONDS)
        return line

    def _one_gives_way(self, own: int) -> bool:
        """Has one command refused of the line that is longest; False where none is longer than the asker's would be."""
        longest = max(self._lines.values(), key=len, default=None)
        newest = None if longest is None or len(longest) <= own + 1 else longest.give_way()
        if newest is None:
            return False
        self.count -= 1
        if not newest.waiter.done():
            newest.waiter.set_exception(Overloaded(GIVEN_UP, retry_after=RETRY_AFTER_SECONDS))
        return True

    def add(self, submission: Submission) -> None:
        """Adds a command of the given work. Raises Overloaded."""
        org = submission.principal.org
        line = self.check_room(org)
        submission.work = submission.work or work_of(submission.command) + submission.size // BYTES_OF_WORK
        if submission.work > MAX_GROUP_WORK or submission.size > MAX_GROUP_BYTES:
            submission.is_large = True
        try:
            if line is None:
                line = self._begin_line(org, max(self._begun, self._ends.get(org, 0)))
            line.add(submission)
            self.count += 1
        except Exception:
            self.mend()
            raise

    def put_back(self, submissions: list[Submission]) -> None:
        """What was taken, in that order, and has not been placed: it comes before all else of its organisation, but for
        the rest of a large command. Its work is done when it is taken again: it begins again where it began, in the
        order of all organisations as well."""
        again: dict[int, int] = {}
        for submission in submissions:
            again.setdefault(submission.principal.org, submission.ends - submission.work)
        self._next = [(again.get(org, begins), number, org) for begins, number, org in self._next]
        heapify(self._next)
        try:
            for org, begins in again.items():
                if org not in self._lines:
                    self._begin_line(org, begins)
            for submission in reversed(submissions):
                submission.is_begun = True
                self._lines[submission.principal.org].put_back(submission)
                self.count += 1
        except Exception:
            self.mend()
            raise

    def charge(self, org: int, work: int) -> None:
        """More work was done for an organisation than its commands had told: it comes so much later next time, if
        anybody waits."""
        if org in self._lines:
            self._next = [(begins + (work if one == org else 0), number, one) for begins, number, one in self._next]
            heapify(self._next)
        elif self._next:
            self._ends[org] = max(self._begun, self._ends.get(org, 0)) + work

    def charge_all(self, more: Iterable[tuple[int, int]]) -> None:
        """The same of several: (organisation, work)."""
        for org, work in more:
            self.charge(org, work)

    def _begin_line(self, org: int, begins: int) -> _Line:
        """For the commands of an organisation that has none, the next of which begins there."""
        line = self._lines[org] = _Line(self._max_commands + MAX_GROUP_COMMANDS)
        self._ends.pop(org, None)
        self._number += 1
        heappush(self._next, (begins, self._number, org))
        return line

    def take(self) -> list[Submission]:
        """The next group, empty where nobody waits any more for what was queued."""
        group: list[Submission] = []
        try:
            self._take(group)
        except Exception as error:  # too little memory in the middle of it: what it had is refused, the rest waits
            self.mend()
            for submission in group:
                if not submission.waiter.done():
                    submission.waiter.set_exception(told_of(error))
            raise
        return group

    def mend(self) -> None:
        """Makes all that follows from the lines anew, after a change of them that broke."""
        begins = {org: begins for begins, _, org in self._next}
        self._lines = {org: line for org, line in self._lines.items() if line}
        self._next = [(begins.get(org, self._begun), number, org) for number, org in enumerate(self._lines)]
        self._number += len(self._next)
        heapify(self._next)
        self.count = sum(map(len, self._lines.values()))

    def _take(self, group: list[Submission]) -> None:
        lines: dict[int, _Line] = {}  # of which it has small ones
        work = size = 0
        while self._next and len(group) < MAX_GROUP_COMMANDS:
            begins, _, org = self._next[0]
            line = self._lines[org]
            submission = line.first()
            waiter = submission.waiter
            own = 0
            if not isinstance(waiter, asyncio.Future) or not waiter.cancelled():
                own = submission.work
                work += own
                size += submission.size
                if group and (work > self.size.most or size > MAX_GROUP_BYTES):
                    break
                if not group:
                    self._begun = begins
                group.append(submission)
                self.size.taken = work
                submission.ends = begins + own
            line.pop()
            if not submission.is_large:
                lines[org] = line
            self.count -= 1
            if line:
                self._number += 1
                heapreplace(self._next, (begins + own, self._number, org))
            else:
                heappop(self._next)
                del self._lines[org]
                self._ends[org] = begins + own
        for line in lines.values():
            line.end_group()
        if not self._next:
            # Nobody waits: nobody has anything before anybody.
            self._ends.clear()
        elif len(self._ends) > MAX_REMEMBERED:
            self._ends = {org: end for org, end in self._ends.items() if end > self._begun}


class Intake:
    """Where commands come in: each is refused at once, or waits in the queue until the writer takes it."""

    def __init__(self, store: Store, serving: ServingTime, max_queue: int) -> None:
        """Closed; it takes so many commands."""
        self._store = store
        self._serving = serving
        self._in_flight = InFlight()
        self.queue = CommandQueue(max_queue)
        self.bodies = WaitingBodies(max_queue)
        self.waits = CommitWaits()
        self.is_open = False
        self.wake = asyncio.Event()
        """Set where something waits, and where the writer has to look whether this is still open."""

    def submit(
        self,
        principal: Principal,
        command: Write,
        dialect: str,
        idempotency: Idempotency | None,
        address: str | None = None,
    ) -> asyncio.Future[Placed | Replayed]:
        """Queues a command. Raises Overloaded when full, InProgress for an Idempotency-Key that is being answered."""
        self._check(command)
        self.queue.check_room(principal.org)
        future: asyncio.Future[Placed | Replayed] = asyncio.get_running_loop().create_future()
        size = measured(command)
        submission = Submission(
            principal, command, dialect, future, idempotency, size=size, address=address, came_at=self.waits.commits
        )
        if idempotency is not None:
            self._in_flight.enter(future, principal, idempotency)
        self.queue.add(submission)
        self.wake.set()
        return future

    def enlist(self, principal: Principal, command: Append | Report, dialect: str, waiter: Waiter, size: int) -> None:
        """Queues telemetry of so many bytes; `waiter` is told. Raises like `submit`."""
        self._check(command)
        self.queue.add(Submission(principal, command, dialect, waiter, size=size, came_at=self.waits.commits))
        self.wake.set()

    def take_again(self, submission: Submission) -> None:
        """Queues what was taken and could not be placed yet, behind what waits. Raises like `submit`."""
        self._check(submission.command)
        submission.is_begun = True
        self.queue.add(submission)
        self.wake.set()

    def take(self) -> list[Submission]:
        """The next group. What has no room any more is refused as if it came now, unless a part of it is stored."""
        group = self.queue.take()
        if not self._store.space.was_low:
            return group
        taken = []
        for one in group:
            if one.is_begun or isinstance(one.command, ON_A_FULL_DISK):
                taken.append(one)
            elif not one.waiter.done():
                one.waiter.set_exception(self._store.space.refusal(RETRY_ON_FULL_DISK_SECONDS))
        return taken

    def keep_body(self, principal: Principal, idempotency: Idempotency, status: int, body: bytes) -> None:
        """Stores the reply to a command that is durable already, with the next group; nobody waits for it."""
        self.bodies.add(ReplyBody(principal.org, name_of(idempotency), status, body))
        self.wake.set()

    def _check(self, command: Write) -> None:
        if (failed := self._store.trouble.final) is not None:
            raise self._store.trouble.refusal(failed)
        if self._store.space.was_low and not isinstance(command, ON_A_FULL_DISK):
            self._serving.stop()
            raise self._store.space.refusal(RETRY_ON_FULL_DISK_SECONDS)
        if not self.is_open:
            raise Overloaded(retry_after=RETRY_AFTER_SECONDS)


def work_of(command: Write) -> int:
    """How much work a command is, in plain events; never none, since whoever costs nothing would always be next."""
    if isinstance(command, ABOUT_MEMBERS):
        return WORK_OF_MEMBERS
    if not isinstance(command, TELEMETRY):
        return max(1, len(command.parts) // MESSAGES_OF_WORK) if isinstance(command, KeepContent) else WORK_OF_CHANGE
    # A report moves its lane, and runs that are asked after are looked up.
    work = len(command.polled) if isinstance(command, Append) else WORK_OF_CHANGE
    for item in command.items:
        work += work_of_item(item)
    return work or 1


def cut(submission: Submission, rest: Append | Report) -> None:
    """A command of which a group had no room for all: what is left of it, and how much work and how long that is."""
    before = submission.command
    assert isinstance(before, Append | Report)
    placed = before.items[: len(before.items) - len(rest.items)]
    placed_bytes = submission.size * len(placed) // max(1, len(before.items))  # about
    done = sum([work_of_item(item) for item in placed]) + placed_bytes // BYTES_OF_WORK
    submission.work, submission.size = max(1, submission.work - done), submission.size - placed_bytes
    submission.command, submission.is_large = rest, True


def work_of_item(item: Item) -> int:
    """How much work one item of a command is, but for its bytes."""
    if type(item) is not Draft:
        return 1
    work = 1 if item.facts.effects is None else WORK_OF_CHANGE
    if item.history is not None and not item.history.is_long:
        work += (len(item.history.messages) + len(item.history.meta or ())) // MESSAGES_OF_WORK
    return work


def parted(group: list[Submission], error: TowerlogError) -> tuple[list[Submission], list[list[Submission]]]:
    """(those that fail with this error, the parts of a group that are to be tried by themselves).

    A group that has met damaged pages is halved, until only commands that need those pages fail.
    """
    if not (isinstance(error, StorageFailed) and error.is_damage and len(group) > 1):
        return group, []
    half = len(group) // 2
    return [], [group[:half], group[half:]]
