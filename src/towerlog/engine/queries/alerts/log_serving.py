"""What of the server's knowledge the log tells: nothing begins anew by it, so what does not hold any more is over."""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.model.event import Event
from towerlog.model.lane import ASKED_LATELY_MS, Lane


class LogServing:
    """When a moment was, and which agents the workers serve that were heard then: those whose runs they have taken."""

    def __init__(self) -> None:
        """Nothing was."""
        self.now = 0
        self.heard: dict[str, int] = {}
        """Agent → when a worker that serves it has taken or ended a run last."""
        self._agents: dict[str, set[str]] = {}
        """Worker → agents of which it has taken runs."""
        self._held: dict[int, str] = {}
        """Run → the worker that holds it."""

    def elapsed_ms(self, stamp_ms: int, /) -> int:
        """Since then, as if nothing had kept the server from serving."""
        return max(0, self.now - stamp_ms)

    def since_ms(self, stamp_ms: int, /) -> int:
        """The same: the log knows of no time in which the server may not have heard."""
        return self.elapsed_ms(stamp_ms)

    def holds(self, lane: Lane) -> None:
        """A worker has held this since before the beginning."""
        known = () if lane.serves is None else lane.serves.agents or ()
        self._take(lane.run, lane.worker_id or "", (lane.agent, *known), lane.claimed_at or 0)

    def takes(self, event: Event, agent: str) -> None:
        """The claim of a run of this agent."""
        facts = None if event.facts.effects is None else event.facts.effects.lane
        self._take(event.run, "" if facts is None else facts.worker_id or "", (agent,), event.recorded_at)

    def _take(self, run: int, worker_id: str, agents: Iterable[str], at: int) -> None:
        self._held[run] = worker_id
        self._agents.setdefault(worker_id, set()).update(agents)
        self._hear(worker_id, at)

    def leaves(self, run: int, at: int | None = None) -> None:
        """A run is held no more; with `at`, its worker has ended it then."""
        worker_id = self._held.pop(run, None)
        if worker_id is not None and at is not None:
            self._hear(worker_id, at)

    def _hear(self, worker_id: str, at: int) -> None:
        for agent in self._agents[worker_id]:
            self.heard[agent] = max(self.heard.get(agent, 0), at)

    def served(self, run: int) -> frozenset[str]:
        """The agents that the worker serves which holds a run."""
        return frozenset(self._agents.get(self._held.get(run, ""), ()))

    def serves(self, lane: Lane, serving_ms: int) -> bool:
        """Whether a worker that has taken a run of the same agent holds one, or was heard lately."""
        if self.heard.get(lane.agent, -1) >= serving_ms - ASKED_LATELY_MS:
            return True
        return any(lane.agent in self._agents[worker_id] for worker_id in self._held.values())

    def is_seen(self, lane: Lane, serving_ms: int) -> bool:
        """The same: of those that asked and found nothing, the log knows nothing."""
        return self.serves(lane, serving_ms)
