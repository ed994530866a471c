"""Lanes: a run's place in the queue and its lease. One holder (worker, epoch) at a time.

A lane is state, not a projection: a heartbeat moves it without an event, so it cannot be folded from the log. What
people need to see later (claims, losses, releases, phases) is recorded as an event as well.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

import msgspec

MAX_ATTEMPTS = 3
"""Claims of a run before a further expired lease ends it as `lost`."""
DEFAULT_LEASE_SECONDS = 300
MAX_LEASE_SECONDS = 3600
MAX_LABELS_BYTES = 8 * 1024
"""Of the labels that a worker must have, as JSON: a lane is written anew with each heartbeat."""
MAX_SERVED_BYTES = 8 * 1024
"""Of what a worker says it serves, as JSON: what is longer is not kept with the lanes that it holds."""
MAX_LANE_BYTES = 34 * 1024
"""Of a lane as it is stored: these, names, and the last line of its worker's log."""


ASKED_LATELY_MS = 90_000
"""A worker that has asked within this time waits for work: a claim that waits is asked anew each minute."""


class QueueState(enum.StrEnum):
    """Whether a run waits for a worker, is held by one, or is done with workers.

    `blocked`: waits for an earlier run of its thread to end.
    """

    BLOCKED = "blocked"
    QUEUED = "queued"
    HELD = "held"
    DONE = "done"


WallOf = Callable[[int], int]
"""From a moment of the clock of leases to that of the wall clock."""


class Served(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker has said with a claim: which agents it serves (None: all), and which labels it has."""

    agents: tuple[str, ...] | None = None
    labels: dict[str, str] = {}


class Lane(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The lease of one run. `expires_at`, `queued_at` … are ms in which the server could hear."""

    run: int
    org: int
    state: QueueState
    agent: str
    """Name of the agent that must serve it."""
    queued_at: int
    labels: dict[str, str] = {}
    """Labels that a worker must have, all of them."""
    queue_position: int = 0
    """Order in the queue: the position of the event that queued it. A time would change order with the wall clock."""
    worker_id: str | None = None
    """The holder; of a lane that is done, the last one."""
    key_id: str | None = None
    """The API key that the holder claimed it with; of a lane that was released or is done, that of its last holder."""
    released_by: str | None = None
    """Worker that released it last, so that a repeated release gets the same answer."""
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
    serves: Served | None = None
    """What else the holder serves, or did; None where it has not said it, or said too much."""

    def may_be_taken_by(self, agents: tuple[str, ...] | None, labels: Mapping[str, str]) -> bool:
        """Whether a worker that serves these agents (None: all) and has these labels may claim it."""
        if agents is not None and self.agent not in agents:
            return False
        return all(labels.get(name) == value for name, value in self.labels.items())

    def is_renewal_of(self, before: Lane | None) -> bool:
        """Whether it is where it was in the queue, or in the same hands: only its deadline has moved, if anything."""
        return (
            before is not None
            and before.state is self.state
            and before.queue_position == self.queue_position
            and before.queued_at == self.queued_at
        )

    def belongs_to(self, worker_id: str, epoch: int | None, key_id: str) -> bool:
        """Whether a lease of this lane, running or over, is that of this worker under this key.

        `epoch` None: of whichever claim. A worker's name is no secret, so without its key it proves nothing.
        """
        return self.worker_id == worker_id and self.key_id == key_id and epoch in (None, self.epoch)

    def on_wall(self, wall_of: WallOf) -> Lane:
        """As it is shown: its times by the wall clock, which `wall_of` tells from the clock of leases."""
        return msgspec.structs.replace(
            self,
            queued_at=wall_of(self.queued_at),
            claimed_at=None if self.claimed_at is None else wall_of(self.claimed_at),
            expires_at=None if self.expires_at is None else wall_of(self.expires_at),
            last_heartbeat=None if self.last_heartbeat is None else wall_of(self.last_heartbeat),
        )

    def is_held(self, now_ms: int) -> bool:
        """True while a lease runs. An expired one may be claimed at once; the sweep that requeues it may come later."""
        return self.state is QueueState.HELD and self.expires_at is not None and self.expires_at > now_ms
