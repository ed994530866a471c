"""Commands: what a dialect asks of the engine. A closed set; the answers are in `model/outcome.py`.

Writing commands are here; they go through the writer, one group to a transaction. The reading ones and the streams
are in `model/question.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from towerlog.model.event import Draft, Item, RunByForeignId
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.principal import Scope
from towerlog.model.question import Read, Stream


class Append(msgspec.Struct, frozen=True, gc=False):
    """Store events. Refused items travel along so that results keep their index.

    `agent_id`: every draft is this agent's (the activity dialect names the agent by UUID, 404 when unknown).
    `watched`: runs of which the outcome tells what is pending, waiting for that up to `wait_ms`.
    `tells`: the reply carries what is wanted of the runs, so that it counts as delivered.
    `sent_ids`: for a reply that repeats them, the JSON text of each item's id as it was sent, None for one that cannot
    be repeated. The engine does not read them.
    """

    dialect: str
    items: list[Item]
    agent_id: str | None = None
    watched: tuple[RunByForeignId, ...] = ()
    wait_ms: int = 0
    tells: bool = True
    sent_ids: tuple[bytes | None, ...] = ()


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
    by: str = ""
    """The dialect of the reply."""


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
    """A worker's telemetry: renews the lease, then appends. Answered at once unless `wait_ms` asks for commands.

    `sent_ids`: as in `Append`.
    """

    run_id: str
    worker_id: str
    items: list[Item]
    lease_ms: int | None = None
    lease_epoch: int | None = None
    phase: str | None = None
    log_line: str | None = None
    wait_ms: int = 0
    sent_ids: tuple[bytes | None, ...] = ()
    dialect: str = ""
    """What the items were said in."""


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
    dialect: str = ""


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


class RetryRun(msgspec.Struct, frozen=True, gc=False):
    """The same again as a new run, of one that has ended."""

    run_id: str


class ForkRun(msgspec.Struct, frozen=True, gc=False):
    """A new run that begins with a checkpoint of this one. `agent`: whose, where several have that step."""

    run_id: str
    step_index: int
    agent: str | None = None


class Idempotency(msgspec.Struct, frozen=True, gc=False):
    """An Idempotency-Key as it came: kept 24 h with the reply that `encode` makes of the outcome."""

    route: str
    key: str
    digest: bytes
    """SHA-256 of the request body."""
    encode: Callable[[Any], tuple[int, bytes]]
    """outcome → (status, body) as the reply is to be repeated."""


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
    | CreatePersona
    | CreateRoute
    | RetryRun
    | ForkRun
)
Command = Write | Read | Stream
