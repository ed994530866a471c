"""The reference model: what the wire promises about lanes, said once more in the simplest way that can be right.

It knows no database, no cache and no groups. Each act is given with what the engine answered; the model says whether
that answer was right, and changes itself the way the promise says. `now` is steady time in ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

ATTEMPTS = 3
CANCEL_DEADLINE_MS = 30_000
MAX_INPUTS = 15
SECOND_ANSWER_MS = 5_000
PEOPLE = "people"
"""The key that runs are created with."""
ENDS = frozenset({"completed", "failed", "cancelled", "lost"})


@dataclass
class Sent:
    """An item of a request: a marker that is unique, what it does to the status, what it spent."""

    marker: str
    status: str | None = None
    spent: int = 0
    takes: str | None = None
    """The type of command that it acknowledges."""
    key: str | None = None
    """What the agent calls the question that it asks or withdraws."""

    @property
    def words(self) -> str:
        """What is asked: under one key in the same words, or in other ones."""
        return self.marker if self.key is None else f"{self.key} {int(self.marker[1:]) % 4 == 0}"

    @property
    def acknowledges_alone(self) -> bool:
        """An acknowledgement that is nothing else."""
        return self.status is None and self.takes not in (None, "input")


@dataclass(frozen=True)
class Question:
    """An open one."""

    marker: str
    key: str | None
    epoch: int
    """Of who asked it last."""
    words: str
    """What is asked now."""
    first_epoch: int
    moment: int
    """When it was asked last, in the order of all that happens."""


@dataclass(frozen=True)
class Closed:
    """A question that was answered or withdrawn."""

    asked: Question
    moment: int
    """When, in the order of all that happens."""
    wall_ms: int
    is_unanswered: bool


@dataclass
class Wish:
    """A command that waits for its agent."""

    kind: str
    delivered: bool = False
    key: str | None = None
    """Of an answer: the key of its question."""
    words: str = ""
    """And its words."""
    epoch: int = 0
    """Of who asked that question last."""


@dataclass
class Run:
    """One run as it should be."""

    number: int
    thread: str
    queue_position: int
    parent: str | None = None
    lane: str = "blocked"
    status: str = "queued"
    worker: str | None = None
    key: str | None = None
    """The API key of the lease, or of the last one."""
    released_by: str | None = None
    epoch: int = 0
    attempt: int = 0
    lease_ms: int = 0
    deadline: int = 0
    cancel_seen: int | None = None
    cancel_asked: bool = False
    pending: list[Wish] = field(default_factory=list)
    """Oldest first."""
    pause_taken: bool = False
    """The agent has taken a pause that nobody has ended; the next attempt is told of it again."""
    questions: list[Question] = field(default_factory=list)
    """The open ones, oldest first. They outlive their worker."""
    asking_epoch: int = 0
    closed: list[Closed] = field(default_factory=list)
    spent: int = 0
    kept: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Those of `kept` that came from a key which did not hold the run, and would have changed it."""

    @property
    def ended(self) -> bool:
        return self.status in ENDS

    @property
    def told(self) -> list[tuple[str, bool]]:
        """(type, delivered) of what waits for the agent."""
        return [(wish.kind, wish.delivered) for wish in self.pending]

    @property
    def awaited(self) -> list[Question]:
        """The questions of the last attempt that has asked any."""
        return [one for one in self.questions if one.epoch == self.asking_epoch]

    def goes_on(self) -> None:
        """A run that goes on waits while a question is open, and is paused while a pause that was taken stands."""
        self.status = "waiting_for_input" if self.awaited else "paused" if self.pause_taken else "running"

    def begin_attempt(self) -> None:
        """A new epoch; it is told of the pause that the one before had taken, and of a cancel that stands."""
        self.epoch += 1
        stands = "cancel" if self.status == "cancelling" else "pause" if self.pause_taken else None
        if stands is not None and all(wish.kind != stands for wish in self.pending):
            self.pending.insert(0, Wish(stands))
        self.pause_taken = False

    def requeue(self) -> None:
        """Back to the queue; its questions stay open."""
        self.lane, self.status, self.worker = "queued", "queued", None

    def deliver(self) -> None:
        """A reply has carried all that is wanted."""
        for wish in self.pending:
            wish.delivered = True

    def held_by(self, worker: str, epoch: int | None, key: str) -> bool:
        """Only the holder may speak, under its own key; after the end, only who held it then."""
        return (
            self.lane in ("held", "done") and (self.worker, self.key) == (worker, key) and epoch in (None, self.epoch)
        )

    def is_foreign(self, item: Sent, key: str) -> bool:
        """A held run changes by its holder's word, one in the queue by that of who made it. Of one that is back in the
        queue nobody takes what is wanted, and nobody asks: that is for the next worker."""
        if self.lane == "done":
            return False
        changes = item.status is not None or item.takes is not None
        if key != (self.key if self.lane == "held" else PEOPLE):
            return changes
        asks = item.takes is not None or item.status in ("waiting_for_input", "withdrawn")
        return asks and self.lane != "held" and self.epoch > 0

    def tells(self, key: str) -> bool:
        """What is wanted of a run is for the key that holds it."""
        return self.lane == "held" and self.key == key


class Model:
    """All runs by id. Methods answer `ok` or the code of the error that must come."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self.runs: dict[str, Run] = {}
        self.revoked: set[str] = set()
        self._wall_ms = wall_ms
        self._places = 0
        self._moments = 0

    def _next_moment(self) -> int:
        self._moments += 1
        return self._moments

    def _next_position(self) -> int:
        self._places += 1
        return self._places

    # what can be asked

    def create(self, run_id: str, thread: str, parent: str | None, now: int) -> str:
        busy = any(run.thread == thread and not run.ended for run in self.runs.values())
        self.runs[run_id] = Run(
            len(self.runs) + 1, thread, self._next_position(), parent, "blocked" if busy else "queued"
        )
        if any(one.cancel_asked and one.status in ("cancelling", "cancelled") for one in self._above(run_id)):
            self._ask_cancel(self.runs[run_id])
        return "ok"

    def claimable(self, now: int) -> list[str]:
        """Queued ones first, then those that ran out; oldest first."""
        queued = [(run.queue_position, run_id) for run_id, run in self.runs.items() if run.lane == "queued"]
        ran_out = [
            (run.queue_position, run_id)
            for run_id, run in self.runs.items()
            if run.lane == "held" and run.deadline <= now
        ]
        return [run_id for _, run_id in (*sorted(queued), *sorted(ran_out))]

    def claim(self, candidates: list[str], worker: str, key: str, lease_ms: int, now: int) -> str | None:
        """The run that must be handed out, out of those that were claimable when the group began."""
        for run_id in candidates:
            run = self.runs[run_id]
            if (run.lane == "queued" or (run.lane == "held" and run.deadline <= now)) and self._take(
                run, worker, key, lease_ms, now
            ):
                return run_id
        return None

    def claim_run(self, run_id: str, worker: str, key: str, lease_ms: int, now: int) -> str:
        run = self.runs[run_id]
        if run.ended:
            return "run_ended"
        if run.lane in ("done", "blocked"):
            return "already_claimed"
        if run.lane == "held" and run.deadline > now:
            if run.worker != worker or (run.key != key and run.key not in self.revoked):
                return "already_claimed"
            run.key = key
            run.lease_ms, run.deadline = lease_ms, now + lease_ms
            run.begin_attempt()
            run.deliver()
            return "ok"
        return "ok" if self._take(run, worker, key, lease_ms, now) else "run_ended"

    def report(
        self, run_id: str, worker: str, key: str, epoch: int | None, lease_ms: int | None, items: list[Sent], now: int
    ) -> str:
        run = self.runs[run_id]
        is_held = run.held_by(worker, epoch, key)
        ends = [item for item in items if run.ended and item.status in ENDS]
        is_other_end = any(not is_held or item.marker not in run.kept for item in ends)
        if is_other_end or not is_held:
            run.refused += [item.marker for item in items]
            return "run_ended" if is_other_end else "lease_lost"
        if run.lane == "held":
            run.deadline = now + (lease_ms or run.lease_ms)
            run.lease_ms = lease_ms or run.lease_ms
        self.append(run_id, key, items)
        return "ok"

    def append(self, run_id: str, key: str, items: list[Sent]) -> None:
        """Events whose reply carries what is wanted, if that is for this key."""
        self.tell(run_id, key, items)
        if self.runs[run_id].tells(key):
            self.runs[run_id].deliver()

    def release(self, run_id: str, worker: str, key: str, epoch: int | None, now: int) -> str:
        run = self.runs[run_id]
        if run.lane == "queued" and (run.released_by, run.key) == (worker, key):
            return "ok"
        if not run.held_by(worker, epoch, key):
            return "lease_lost"
        if run.lane == "done":
            return "run_ended"
        if run.status == "cancelling":
            self._force(run)
            return "ok"
        run.requeue()
        run.released_by = worker
        run.attempt -= 1
        run.queue_position = self._next_position()
        return "ok"

    def finish(self, run_id: str, worker: str, key: str, epoch: int | None, item: Sent) -> str:
        run = self.runs[run_id]
        if not run.held_by(worker, epoch, key) or (run.ended and item.marker not in run.kept):
            run.refused.append(item.marker)
            return "run_ended" if run.ended else "lease_lost"
        if not run.ended:
            self.tell(run_id, key, [item])
        return "ok"

    def cancel(self, run_id: str) -> str:
        run = self.runs[run_id]
        if run.ended:
            return "ok" if run.status == "cancelled" else "run_not_active"
        for one in (run, *self._below(run)):
            self._ask_cancel(one)
        return "ok"

    def kill(self, run_id: str) -> str:
        run = self.runs[run_id]
        if run.ended:
            return "ok" if run.status == "cancelled" else "run_not_active"
        for one in (*self._below(run), run):
            if not one.ended:
                one.cancel_asked = True
                self._end(one, "cancelled", keep_worker=False)
        return "ok"

    def steer(self, run_id: str, action: str) -> str:
        """A pause or its opposite: one of them stands at a time, and none for what is so already."""
        run = self.runs[run_id]
        if run.ended or run.status == "cancelling":
            return "run_not_active"
        standing = [wish.kind for wish in run.pending if wish.kind in ("pause", "resume")]
        paused = run.status == "paused" or run.pause_taken
        is_so = paused == (action == "pause")
        if standing != [action] and (standing or not is_so):
            run.pause_taken = False
            run.pending = [wish for wish in run.pending if wish.kind not in standing] + [Wish(action)]
        return "ok"

    def input(self, run_id: str, marker: str | None = None) -> str:
        """An answer to the question of this marker, or to the oldest that is waited for; without any it is a message.
        What names none is taken for a second answer to one that was closed a moment ago, unless the one that it would
        answer was asked before that."""
        run = self.runs[run_id]
        if run.ended or run.status == "cancelling":
            return "run_not_active"
        meant = [one for one in run.questions if one.marker == marker] if marker is not None else run.awaited[:1]
        before = [one for one in run.closed if not meant or one.moment < meant[0].moment][-1:]
        is_second = any(0 <= self._wall_ms() - one.wall_ms < SECOND_ANSWER_MS for one in before)
        is_second = is_second or (not meant and any(wish.kind == "input" for wish in run.pending))
        if (not meant and marker is not None) or (marker is None and is_second):
            return "question_closed"
        if not meant and run.status != "running":
            return "run_not_active"
        kind = "input" if meant else "message"
        asked = meant[0] if meant else None
        if not self._has_room(run, kind, asked is not None and asked.epoch == run.epoch):
            return "conflict"
        run.pending.append(Wish(kind) if asked is None else Wish(kind, False, asked.key, asked.words, asked.epoch))
        self._close(run, meant)
        if asked is not None and run.epoch > 1 and asked.first_epoch == run.epoch:
            self._leave(run)
        return "ok"

    @staticmethod
    def _has_room(run: Run, kind: str, is_awaited: bool) -> bool:
        """Whether there is room for one more: what is awaited, what is not, and messages have a share each."""
        alike = [wish for wish in run.pending if wish.kind == kind]
        if kind == "message":
            return len(alike) < MAX_INPUTS
        share = [wish for wish in alike if (wish.epoch == run.epoch) == is_awaited]
        return len(share) < MAX_INPUTS and len(alike) < 2 * MAX_INPUTS

    def _leave(self, run: Run) -> None:
        """An attempt that is answered what none before it has asked goes another way: nobody waits for what these have
        asked. What was answered of it is kept until this attempt asks it as well."""
        for left in [one for one in run.questions if one.epoch != run.epoch]:
            self._close(run, [left], is_unanswered=True)

    def _close(self, run: Run, closed: list[Question], *, is_unanswered: bool = False) -> None:
        run.questions = [one for one in run.questions if one not in closed]
        run.closed += [Closed(one, self._next_moment(), self._wall_ms(), is_unanswered) for one in closed]
        if run.status == "waiting_for_input":
            run.goes_on()

    def _ask(self, run: Run, item: Sent, is_known: bool) -> None:
        run.asking_epoch = run.epoch
        moment, left = self._next_moment(), self._left_open(run, item)
        before = [one.asked.first_epoch for one in run.closed if one.asked.key == item.key is not None]
        asked = Question(item.marker, item.key, run.epoch, item.words, min(before, default=run.epoch), moment)
        if is_known:
            run.questions = [self._again(one, asked) if one.key == item.key else one for one in run.questions]
            for wish in run.pending:
                if wish.kind == "input" and wish.key == item.key:
                    wish.epoch = run.epoch
        elif left is not None:
            run.closed.remove(left)
            run.questions.append(replace(asked, marker=left.asked.marker))
        else:
            # An answer to other words under the same key is none to these.
            run.pending = [wish for wish in run.pending if item.key is None or wish.key != item.key]
            run.questions.append(asked)

    @staticmethod
    def _left_open(run: Run, item: Sent) -> Closed | None:
        """What an attempt before has asked under this key in these words, and what was withdrawn unanswered last."""
        of_key = [one for one in run.closed if item.key is not None and one.asked.key == item.key][-1:]
        is_left = [
            one.is_unanswered and one.asked.epoch < run.epoch and one.asked.words == item.words for one in of_key
        ]
        return of_key[0] if is_left == [True] else None

    @staticmethod
    def _again(known: Question, asked: Question) -> Question:
        """The same question, asked now."""
        return replace(known, epoch=asked.epoch, words=asked.words, moment=asked.moment)

    @staticmethod
    def _is_asked_again(run: Run, item: Sent) -> bool:
        """The same key again is the same question: open still, or answered in the same words and not taken yet."""
        answered = [wish.key for wish in run.pending if wish.kind == "input" and wish.words == item.words]
        return item.key is not None and item.key in [one.key for one in run.questions] + answered

    def _withdraw(self, run: Run, item: Sent) -> None:
        """Only an open question can be withdrawn: an answer that was first counts."""
        found = [one for one in run.questions if one.key == item.key][:1] if item.key is not None else run.awaited[:1]
        self._close(run, found, is_unanswered=True)

    def tell(self, run_id: str, key: str, items: list[Sent]) -> None:
        """Events that are accepted; the same again adds nothing, and after the end only what was spent counts. So does
        what a stranger says."""
        run = self.runs[run_id]
        for item in items:
            if item.marker in run.kept:
                continue
            run.kept.append(item.marker)
            run.spent += item.spent
            if run.ended:
                continue
            if run.is_foreign(item, key):
                run.foreign.append(item.marker)
                continue
            is_known = self._is_asked_again(run, item)
            taken = next((wish for wish in run.pending if wish.kind == item.takes), None)
            run.pause_taken = run.pause_taken and item.takes != "resume"
            if taken is not None:
                run.pending.remove(taken)
                run.pause_taken = run.pause_taken or taken.kind == "pause"
                if item.acknowledges_alone and run.status not in ("cancelling", "queued"):
                    self._come_about(run, taken.kind)
            if item.status == "waiting_for_input":
                self._ask(run, item, is_known)
            if item.status == "withdrawn":
                # What acknowledges an answer, and names no question, is about the question of that answer.
                if item.key is not None or taken is None or taken.kind != "input":
                    self._withdraw(run, item)
            elif item.status in ENDS:
                self._end(run, item.status)
            elif item.status is not None and run.status not in ("cancelling", "queued"):
                if item.status == "paused":
                    run.status = "paused"
                else:
                    run.goes_on()

    # what time does

    def sweep(self, now: int) -> None:
        for run in self.runs.values():
            if run.lane == "held" and run.deadline <= now:
                self._expire(run)
        for run in [run for run in self.runs.values() if run.status == "cancelling"]:
            run.cancel_seen = now if run.cancel_seen is None else run.cancel_seen
            if now - run.cancel_seen >= CANCEL_DEADLINE_MS:
                self._force(run)

    def restart(self, now: int) -> None:
        for run in self.runs.values():
            run.cancel_seen = None
            if run.lane == "held":
                run.deadline = now + run.lease_ms

    # steps

    def _below(self, run: Run) -> list[Run]:
        """All descendants; a child is always younger than its parent."""
        family = [run_id for run_id, one in self.runs.items() if one is run]
        for other_id, other in self.runs.items():
            if other.parent in family:
                family.append(other_id)
        return [self.runs[run_id] for run_id in family[1:]]

    def _above(self, run_id: str) -> list[Run]:
        """All runs above one, the nearest first."""
        found, parent = [], self.runs[run_id].parent
        while parent is not None:
            found.append(self.runs[parent])
            parent = self.runs[parent].parent
        return found

    def _force(self, run: Run) -> None:
        for child in self._below(run):
            self._ask_cancel(child)
        self._end(run, "cancelled", keep_worker=False)

    @staticmethod
    def _come_about(run: Run, action: str) -> None:
        if action == "pause":
            run.status = "paused"
        elif action == "resume" and run.status == "paused":
            run.goes_on()

    def _take(self, run: Run, worker: str, key: str, lease_ms: int, now: int) -> bool:
        if run.lane == "held":
            self._expire(run)
        if run.lane != "queued":
            return False
        run.lane, run.worker, run.key, run.released_by = "held", worker, key, None
        run.attempt += 1
        run.begin_attempt()
        run.goes_on()
        run.lease_ms, run.deadline = lease_ms, now + lease_ms
        run.deliver()
        return True

    def _expire(self, run: Run) -> None:
        if run.status == "cancelling":
            self._force(run)
        elif run.attempt >= ATTEMPTS:
            self._end(run, "lost", keep_worker=False)
        else:
            run.requeue()

    def _ask_cancel(self, run: Run) -> None:
        run.cancel_asked = run.cancel_asked or not run.ended
        if run.status == "queued":
            self._end(run, "cancelled")
        elif not run.ended and run.status != "cancelling":
            run.status = "cancelling"
            run.pending.append(Wish("cancel"))

    def _end(self, run: Run, status: str, *, keep_worker: bool = True) -> None:
        run.status, run.lane, run.pending, run.questions, run.pause_taken = status, "done", [], [], False
        run.worker = run.worker if keep_worker else None
        waiting = [other for other in self.runs.values() if other.thread == run.thread and not other.ended]
        if waiting and waiting[0].lane == "blocked":
            waiting[0].lane = "queued"
