"""Heartbeats under a rate limit: the valid holder of a lease is not refused while it comes at most six times a lease.

Otherwise sixty workers behind one address would lose their leases to each other's reports. Who holds is learnt from the
engine's own outcomes, so that nobody gets past a limit by making names up.
"""

from __future__ import annotations

from towerlog.model.command import Command, Report
from towerlog.model.lane import Lane
from towerlog.model.outcome import Claimed, Outcome, Reported

PER_LEASE = 6
MAX_HOLDERS = 10_000
HOLDER_OUTCOMES = (Reported, Claimed)
"""The outcomes that say who holds what."""


class _Holder:
    """One worker's hold on one run, under its key."""

    __slots__ = ("lease_ms", "times")

    def __init__(self) -> None:
        self.lease_ms = 0
        self.times: list[int] = []

    def add(self, steady_ms: int) -> None:
        """It has come."""
        self.times.append(steady_ms)
        del self.times[:-PER_LEASE]


class Heartbeats:
    """The newest reports of known holders."""

    def __init__(self) -> None:
        """Knows nobody yet."""
        self._holders: dict[tuple[str, str, str], _Holder] = {}
        """(run id, worker id, key id) → what it has reported lately."""

    def note(self, outcome: Outcome, steady_ms: int, *, is_counted: bool = False) -> None:
        """Learns from an outcome who holds what, and that it has just reported; `is_counted`: as `allows` knows."""
        if not isinstance(outcome, HOLDER_OUTCOMES):
            return
        holder = self._holder(outcome.view.row.run_id, outcome.lane)
        if holder is not None and not is_counted and type(outcome) is Reported:
            holder.add(steady_ms)

    def allows(self, key_id: str, command: Command, steady_ms: int) -> bool:
        """Whether this command is a heartbeat of a known holder that has come fewer than six times in a lease.

        Counts it if so, whatever will become of it: reports that are refused are no way past the limit.
        """
        if not isinstance(command, Report):
            return False
        holder = self._holders.get((command.run_id, command.worker_id, key_id))
        if holder is None:
            return False
        if sum(time > steady_ms - holder.lease_ms for time in holder.times) >= PER_LEASE:
            return False
        holder.add(steady_ms)
        return True

    def _holder(self, run_id: str, lane: Lane) -> _Holder | None:
        if lane.worker_id is None or lane.key_id is None:
            return None
        name = (run_id, lane.worker_id, lane.key_id)
        holder = self._holders.pop(name, None) or _Holder()
        self._holders[name] = holder
        holder.lease_ms = lane.lease_ms
        if len(self._holders) > MAX_HOLDERS:
            del self._holders[next(iter(self._holders))]
        return holder
