"""The reference model: what the wire promises about lanes, said once more in the simplest way that can be right.

It knows no database, no cache and no groups. Each act is given with what the engine answered; the model says whether
that answer was right, and changes itself the way the promise says. `now` is steady time in ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ATTEMPTS = 3
CANCEL_DEADLINE_MS = 30_000
MAX_INPUTS = 15
ENDS = frozenset({"completed", "failed", "cancelled", "lost"})


@dataclass
class Sent:
    """An item of a request: a marker that is unique, what it does to the status, what it spent."""

    marker: str
    status: str | None = None
    spent: int = 0
    takes_input: bool = False


@dataclass
class Run:
    """One run as it should be."""

    number: int
    thread: str
    place: int
    parent: str | None = None
    lane: str = "blocked"
    status: str = "queued"
    worker: str | None = None
    released_by: str | None = None
    epoch: int = 0
    attempt: int = 0
    lease_ms: int = 0
    deadline: int = 0
    cancel_seen: int | None = None
    inputs: int = 0
    spent: int = 0
    kept: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.status in ENDS

    def held_by(self, worker: str, epoch: int | None) -> bool:
        """Only the holder may speak; after the end, only who held it then."""
        return self.lane in ("held", "done") and self.worker == worker and epoch in (None, self.epoch)


class Model:
    """All runs by id. Methods answer `ok` or the code of the error that must come."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self._places = 0

    def _next_place(self) -> int:
        self._places += 1
        return self._places

    # what can be asked

    def create(self, run_id: str, thread: str, parent: str | None, now: int) -> str:
        busy = any(run.thread == thread and not run.ended for run in self.runs.values())
        self.runs[run_id] = Run(len(self.runs) + 1, thread, self._next_place(), parent, "blocked" if busy else "queued")
        return "ok"

    def claimable(self, now: int) -> list[str]:
        """Queued ones first, then those that ran out; oldest first."""
        queued = [(run.place, run_id) for run_id, run in self.runs.items() if run.lane == "queued"]
        ran_out = [
            (run.place, run_id) for run_id, run in self.runs.items() if run.lane == "held" and run.deadline <= now
        ]
        return [run_id for _, run_id in (*sorted(queued), *sorted(ran_out))]

    def claim(self, candidates: list[str], worker: str, lease_ms: int, now: int) -> str | None:
        """The run that must be handed out, out of those that were claimable when the group began."""
        for run_id in candidates:
            run = self.runs[run_id]
            if (run.lane == "queued" or (run.lane == "held" and run.deadline <= now)) and self._take(
                run, worker, lease_ms, now
            ):
                return run_id
        return None

    def claim_run(self, run_id: str, worker: str, lease_ms: int, now: int) -> str:
        run = self.runs[run_id]
        if run.ended:
            return "run_ended"
        if run.lane in ("done", "blocked"):
            return "already_claimed"
        if run.lane == "held" and run.deadline > now:
            if run.worker != worker:
                return "already_claimed"
            run.lease_ms, run.deadline = lease_ms, now + lease_ms
            return "ok"
        return "ok" if self._take(run, worker, lease_ms, now) else "run_ended"

    def report(
        self, run_id: str, worker: str, epoch: int | None, lease_ms: int | None, items: list[Sent], now: int
    ) -> str:
        run = self.runs[run_id]
        if not run.held_by(worker, epoch):
            run.refused += [item.marker for item in items]
            return "lease_lost"
        if run.lane == "held":
            run.deadline = now + (lease_ms or run.lease_ms)
            run.lease_ms = lease_ms or run.lease_ms
        self.tell(run_id, items)
        return "ok"

    def release(self, run_id: str, worker: str, epoch: int | None, now: int) -> str:
        run = self.runs[run_id]
        if run.lane == "queued" and run.released_by == worker:
            return "ok"
        if not run.held_by(worker, epoch):
            return "lease_lost"
        if run.lane == "done":
            return "run_ended"
        if run.status == "cancelling":
            self._end(run, "cancelled", keep_worker=False)
            return "ok"
        run.lane, run.status, run.worker, run.released_by = "queued", "queued", None, worker
        run.attempt -= 1
        run.place = self._next_place()
        return "ok"

    def finish(self, run_id: str, worker: str, epoch: int | None, item: Sent) -> str:
        run = self.runs[run_id]
        if not run.held_by(worker, epoch):
            run.refused.append(item.marker)
            return "run_ended" if run.ended else "lease_lost"
        if run.ended:
            return "ok" if run.status == item.status else "run_ended"
        self.tell(run_id, [item])
        return "ok"

    def cancel(self, run_id: str) -> str:
        run = self.runs[run_id]
        if run.status in ("cancelled", "cancelling"):
            return "ok"
        if run.ended:
            return "run_not_active"
        below = [run_id]
        for other_id, other in self.runs.items():  # a child is always younger than its parent
            if other.parent in below:
                below.append(other_id)
        for one in below:
            self._ask_cancel(self.runs[one])
        return "ok"

    def input(self, run_id: str) -> str:
        run = self.runs[run_id]
        if run.status not in ("waiting_for_input", "running"):
            return "run_not_active"
        if run.inputs >= MAX_INPUTS:
            return "conflict"
        run.inputs += 1
        run.status = "running"
        return "ok"

    def tell(self, run_id: str, items: list[Sent]) -> None:
        """Events that are accepted; the same again adds nothing, and after the end nothing counts."""
        run = self.runs[run_id]
        for item in items:
            if item.marker in run.kept:
                continue
            run.kept.append(item.marker)
            if run.ended:
                continue
            run.spent += item.spent
            run.inputs -= item.takes_input and run.inputs > 0
            if item.status in ENDS:
                self._end(run, item.status)
            elif item.status is not None and run.status not in ("cancelling", "queued"):
                run.status = item.status

    # what time does

    def sweep(self, now: int) -> None:
        for run in self.runs.values():
            if run.lane == "held" and run.deadline <= now:
                self._expire(run)
        for run in self.runs.values():
            if run.status == "cancelling":
                run.cancel_seen = now if run.cancel_seen is None else run.cancel_seen
                if now - run.cancel_seen >= CANCEL_DEADLINE_MS:
                    self._end(run, "cancelled", keep_worker=False)

    def restart(self, now: int) -> None:
        for run in self.runs.values():
            run.cancel_seen = None
            if run.lane == "held":
                run.deadline = now + run.lease_ms

    # steps

    def _take(self, run: Run, worker: str, lease_ms: int, now: int) -> bool:
        if run.lane == "held":
            self._expire(run)
        if run.lane != "queued":
            return False
        run.lane, run.status, run.worker, run.released_by = "held", "running", worker, None
        run.epoch, run.attempt = run.epoch + 1, run.attempt + 1
        run.lease_ms, run.deadline = lease_ms, now + lease_ms
        return True

    def _expire(self, run: Run) -> None:
        if run.status == "cancelling":
            self._end(run, "cancelled", keep_worker=False)
        elif run.attempt >= ATTEMPTS:
            self._end(run, "lost", keep_worker=False)
        else:
            run.lane, run.status, run.worker = "queued", "queued", None

    def _ask_cancel(self, run: Run) -> None:
        if run.status == "queued":
            self._end(run, "cancelled")
        elif not run.ended:
            run.status = "cancelling"

    def _end(self, run: Run, status: str, *, keep_worker: bool = True) -> None:
        run.status, run.lane, run.inputs = status, "done", 0
        run.worker = run.worker if keep_worker else None
        waiting = [other for other in self.runs.values() if other.thread == run.thread and not other.ended]
        if waiting and waiting[0].lane == "blocked":
            waiting[0].lane = "queued"
