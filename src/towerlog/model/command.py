"""Commands: what a dialect asks of the engine. A closed set; the answers are in `model/outcome.py`.

Writing commands go through the writer, one group to a transaction; reading commands go straight to the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from towerlog.model.event import Draft, Item
from towerlog.model.identity import Scope
from towerlog.model.run import Status

# Writing


class Append(msgspec.Struct, frozen=True, gc=False):
    """Store events. Refused items travel along so that results keep their index.

    `agent_id`: every draft is this agent's (the activity dialect names the agent by UUID, 404 when unknown).
    `tells`: the reply carries what is wanted of the runs, so that it counts as delivered.
    """

    dialect: str
    items: list[Item]
    agent_id: str | None = None
    tells: bool = True


class CreateRun(msgspec.Struct, frozen=True, gc=False):
    """Queue a new run in a thread, which is made when new."""

    thread_id: str
    trace_id: str | None = None
    agent: str | None = None
    persona_id: str | None = None
    route_id: str | None = None
    parent_run_id: str | None = None
    input: bytes | None = None
    """JSON text of the first user message."""
    metadata: bytes | None = None
    """JSON text of an object."""
    labels: dict[str, str] = {}


class CreateThread(msgspec.Struct, frozen=True, gc=False):
    """Make a thread by its caller's id (or a fresh one); an existing one is answered as it is."""

    thread_id: str | None = None
    title: str | None = None
    policy: str | None = None


class RegisterAgent(msgspec.Struct, frozen=True, gc=False):
    """Make an agent by name; an existing one is answered as it is."""

    name: str


class CancelRun(msgspec.Struct, frozen=True, gc=False):
    """Ask for a run's end; its open descendants' too."""

    run_id: str
    reason: str | None = None


class SteerRun(msgspec.Struct, frozen=True, gc=False):
    """Ask a run's agent to pause, or to go on. `wish` is `pause` or `resume`."""

    run_id: str
    wish: str
    reason: str | None = None


class KillRun(msgspec.Struct, frozen=True, gc=False):
    """End a run now, whether its agent answers or not; its open descendants too."""

    run_id: str
    reason: str | None = None


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """A reply that was held back is about to carry what is wanted of these runs.

    `worker_id` and `lease_epoch`: only while this worker still holds them.
    """

    run_ids: tuple[str, ...]
    worker_id: str | None = None
    lease_epoch: int | None = None


class GiveInput(msgspec.Struct, frozen=True, gc=False):
    """Answer a run that waits, or talk to one that runs."""

    run_id: str
    content: str


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Take the oldest queued run that matches, waiting for one up to `wait_ms`."""

    worker_id: str
    lease_ms: int
    agents: tuple[str, ...] | None = None
    labels: dict[str, str] = {}
    wait_ms: int = 0


class ClaimRun(msgspec.Struct, frozen=True, gc=False):
    """Take this very run."""

    run_id: str
    worker_id: str
    lease_ms: int


class Report(msgspec.Struct, frozen=True, gc=False):
    """A worker's telemetry: renews the lease, then appends. Answered at once unless `wait_ms` asks for commands."""

    run_id: str
    worker_id: str
    items: list[Item]
    lease_ms: int | None = None
    lease_epoch: int | None = None
    phase: str | None = None
    log_line: str | None = None
    wait_ms: int = 0


class Release(msgspec.Struct, frozen=True, gc=False):
    """Give a run back to the queue; again by the same worker: answered the same."""

    run_id: str
    worker_id: str
    lease_epoch: int | None = None


class Finish(msgspec.Struct, frozen=True, gc=False):
    """End a run as its holder. `draft` is the terminal event."""

    run_id: str
    worker_id: str
    draft: Draft
    lease_epoch: int | None = None


class Decide(msgspec.Struct, frozen=True, gc=False):
    """Approve or reject a checkpoint that waits for it. `status` is `approved` or `rejected`."""

    trace_id: str
    step_index: int
    status: str
    agent: str | None = None
    reason: str | None = None


class CreateKey(msgspec.Struct, frozen=True, gc=False):
    """Mint an API key for the caller's user."""

    name: str
    scopes: tuple[Scope, ...]


class RevokeKey(msgspec.Struct, frozen=True, gc=False):
    """Revoke an API key of the caller's organisation."""

    key_id: str


class Idempotency(msgspec.Struct, frozen=True, gc=False):
    """An Idempotency-Key as it came: kept 24 h with the reply that `encode` makes of the outcome."""

    route: str
    key: str
    digest: bytes
    """SHA-256 of the request body."""
    encode: Callable[[Any], tuple[int, bytes]]
    """outcome → (status, body) as the reply is to be repeated."""


# Reading


class RunFilter(msgspec.Struct, frozen=True, gc=False):
    """All conditions hold together; None asks for nothing."""

    statuses: tuple[Status, ...] | None = None
    agent: str | None = None
    thread_id: str | None = None
    model: str | None = None
    persona_id: str | None = None
    parent_run_id: str | None = None
    since: int | None = None
    until: int | None = None
    q: str | None = None
    """Part of a run, thread, trace or foreign id, or of the agent's name; case does not matter."""


class ListRuns(msgspec.Struct, frozen=True, gc=False):
    """Runs, newest first. `before` is the run id of the last row seen; an unknown one is refused."""

    filter: RunFilter
    limit: int
    before: str | None = None


class GetRun(msgspec.Struct, frozen=True, gc=False):
    """One run. `tree`: with its descendants."""

    run_id: str
    tree: bool = False


class ListThreads(msgspec.Struct, frozen=True, gc=False):
    """Threads, newest first. `before` is a thread id."""

    limit: int
    before: str | None = None


class GetThread(msgspec.Struct, frozen=True, gc=False):
    """One thread."""

    thread_id: str


class ListThreadRuns(msgspec.Struct, frozen=True, gc=False):
    """The runs of a thread that must exist, newest first."""

    thread_id: str
    limit: int


class LatestCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """The state that a thread resumes from."""

    thread_id: str


class ListApprovals(msgspec.Struct, frozen=True, gc=False):
    """Checkpoints that wait for approval, oldest first."""

    limit: int


class ListCheckpoints(msgspec.Struct, frozen=True, gc=False):
    """The checkpoints of a run by step."""

    run_id: str
    limit: int
    after: tuple[int, str] | None = None
    """(step_index, agent) of the last one seen."""


class GetCheckpoint(msgspec.Struct, frozen=True, gc=False):
    """One checkpoint with its history."""

    run_id: str
    step_index: int
    agent: str | None = None


class ListEvents(msgspec.Struct, frozen=True, gc=False):
    """A page of a run's log. `quarantined`: what was refused to a worker without the lease instead."""

    run_id: str
    limit: int
    after_seq: int = 0
    types: tuple[str, ...] | None = None
    quarantined: bool = False


class Tail(msgspec.Struct, frozen=True, gc=False):
    """The newest `limit` events of an agent's feed, or those after a cursor (text, as it was sent)."""

    agent_id: str
    limit: int
    after: str | None = None


class ListAgents(msgspec.Struct, frozen=True, gc=False):
    """Agents by name. `after` is the last name seen; `name` asks for that one alone."""

    limit: int
    after: str | None = None
    name: str | None = None


class GetAgent(msgspec.Struct, frozen=True, gc=False):
    """One agent by UUID."""

    agent_id: str


class ListLanes(msgspec.Struct, frozen=True, gc=False):
    """Lanes in the queue or held, oldest first; or (`statuses`) those of runs in one of these, newest first.

    At most `limit` are shown; the encoder cuts, because its words are finer than the statuses.
    """

    limit: int
    statuses: tuple[Status, ...] | None = None


class ListWorkers(msgspec.Struct, frozen=True, gc=False):
    """Who holds what."""

    limit: int


class ListKeys(msgspec.Struct, frozen=True, gc=False):
    """The organisation's keys, newest first."""

    limit: int
    before: str | None = None


class GetUsage(msgspec.Struct, frozen=True, gc=False):
    """Roll-ups between two times (ms), grouped `by` hour, agent or model."""

    by: str
    limit: int
    since: int | None = None
    until: int | None = None
    agent: str | None = None
    model: str | None = None
    after: str | None = None


# Streams


class FollowRun(msgspec.Struct, frozen=True, gc=False):
    """A run's events after a seq; `follow` False ends at what is there.

    `epoch` is the log that the seq was of, where the cursor said so; None: this one.
    """

    run_id: str
    after_seq: int = 0
    follow: bool = True
    epoch: str | None = None


class FollowAgent(msgspec.Struct, frozen=True, gc=False):
    """An agent's feed: after a cursor, else the newest `tail` first; then live."""

    agent_id: str
    tail: int
    after: str | None = None


Write = (
    Append
    | CreateRun
    | CreateThread
    | RegisterAgent
    | CancelRun
    | SteerRun
    | KillRun
    | Deliver
    | GiveInput
    | Claim
    | ClaimRun
    | Report
    | Release
    | Finish
    | Decide
    | CreateKey
    | RevokeKey
)
Read = (
    ListRuns
    | GetRun
    | ListThreads
    | GetThread
    | ListThreadRuns
    | LatestCheckpoint
    | ListApprovals
    | ListCheckpoints
    | GetCheckpoint
    | ListEvents
    | Tail
    | ListAgents
    | GetAgent
    | ListLanes
    | ListWorkers
    | ListKeys
    | GetUsage
)
Stream = FollowRun | FollowAgent
Command = Write | Read | Stream
