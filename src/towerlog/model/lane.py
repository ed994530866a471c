"""Lanes: a run's place in the queue and its lease. One holder (worker, epoch) at a time.

A lane is state, not a projection: a heartbeat moves it without an event. Whatever people need to see of it later
(claims, losses, releases, phases) is an event as well.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

MAX_ATTEMPTS = 3
DEFAULT_LEASE_SECONDS = 300
LONGEST_LEASE_SECONDS = 3600


class QueueState(enum.StrEnum):
    """Whether a run waits for a worker, is held by one, or needs none any more.

    `blocked`: waits for an earlier run of its thread to end.
    """

    BLOCKED = "blocked"
    QUEUED = "queued"
    HELD = "held"
    DONE = "done"


class Lane(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The lease of one run. `expires_at`, `queued_at` … are ms of the steady clock."""

    run: int
    org: int
    state: QueueState
    agent: str
    """Which agent must serve it."""
    queued_at: int
    labels: dict[str, str] = {}
    place: int = 0
    """Where it stands in the queue: the position of the event that put it there, which no clock can set back."""
    worker_id: str | None = None
    """The holder; of a lane that is done, the last one."""
    released_by: str | None = None
    """Who gave it back last, so that giving it back again is answered the same."""
    epoch: int = 0
    attempt: int = 0
    lease_ms: int = DEFAULT_LEASE_SECONDS * 1000
    claimed_at: int | None = None
    expires_at: int | None = None
    last_heartbeat: int | None = None
    reported: bool = False
    """True once the holder of this epoch has reported."""
    phase: str | None = None
    log_line: str | None = None

    def may_be_taken_by(self, agents: tuple[str, ...] | None, labels: Mapping[str, str]) -> bool:
        """Whether a worker that serves these agents (None: any) has every label that the run asks for."""
        if agents is not None and self.agent not in agents:
            return False
        return all(labels.get(name) == value for name, value in self.labels.items())

    def is_held(self, now_ms: int) -> bool:
        """True while a lease runs; one that ran out may be claimed at once, the sweep only tidies up."""
        return self.state is QueueState.HELD and self.expires_at is not None and self.expires_at > now_ms
