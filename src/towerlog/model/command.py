"""Commands: what a dialect asks the engine to do. A closed set; the answers are in `model/outcome.py`.

The writing commands are here; they go through the writer, a group of them in one transaction. Questions and streams are
in `model/question.py`, those about personas and routes in `model/persona.py`, about money in `model/budget.py` and
`model/price.py`, about alerts in `model/alert.py` and `model/delivery.py`, about members in `model/member.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from towerlog.model.alert import AcknowledgeAlert, ChangeRule, CreateRule, DeleteRule, MuteAlert
from towerlog.model.approval import AnswerApproval, AnswerLink, MakeAnswerLink
from towerlog.model.budget import ChangeBudget, CreateBudget, DeleteBudget, ReleaseReservation, ReserveBudget
from towerlog.model.delivery import Redeliver, RedeliverFrom
from towerlog.model.event import Draft, FieldWarning, Item, Refusal, RunByForeignId
from towerlog.model.member import (
    ChangeMember,
    CreateMember,
    EndSession,
    EndSessions,
    EndSignInLink,
    MakeSignInLink,
    RemoveMember,
    SetPassword,
    StartSession,
)
from towerlog.model.outcome import Stored
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.price import CorrectCosts, CreatePrice, DeletePrice, Reprice
from towerlog.model.principal import Scope
from towerlog.model.question import Read, Stream
from towerlog.model.retention import Erase, MarkCommand


class Append(msgspec.Struct, frozen=True, gc=False):
    """Store events. Refused items stay in the list, so that results keep their index.

    `agent_id`: UUID of the agent of every draft, as the activity dialect names it; unknown: NotFound.
    `polled`: further runs whose pending commands the outcome shows, waiting up to `wait_ms` for one.
    `shows_commands`: the reply shows pending commands, so they are recorded as delivered.
    `sent_ids`: for a reply that repeats them, the JSON text of each item's id as it was sent, None for one that cannot
    be repeated. The engine does not read them.
    `warnings`: what of the items could not be used, for the reply. The engine does not read them either.
    `type_field`, `data_field`, `thread_field`: what the dialect calls the type, data and thread of an event.
    `is_batch`: False where a request is one event.
    """

    dialect: str
    items: list[Item]
    agent_id: str | None = None
    polled: tuple[RunByForeignId, ...] = ()
    wait_ms: int = 0
    going_on: frozenset[str] = frozenset()
    """Foreign ids of those of `polled` that the sender takes for runs that have not ended."""
    shows_commands: bool = True
    sent_ids: tuple[bytes | None, ...] = ()
    warnings: tuple[FieldWarning, ...] = ()
    type_field: str = "type"
    data_field: str = "data"
    thread_field: str = "thread"
    is_batch: bool = True
    placed: tuple[Stored | Refusal, ...] = ()
    """What came of the items before these, which a commit before has taken: see `PlanFull`."""
    portion: int = 0
    """How many of the items the next group takes at most; 0: all."""


class CreateRun(msgspec.Struct, frozen=True, gc=False):
    """Queue a new run in a thread; the thread is created when new."""

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
    warnings: tuple[FieldWarning, ...] = ()


class CreateThread(msgspec.Struct, frozen=True, gc=False):
    """Create a thread under the caller's id or a new one. An existing thread is answered unchanged."""

    thread_id: str | None = None
    title: str | None = None
    policy: str | None = None


class RegisterAgent(msgspec.Struct, frozen=True, gc=False):
    """Create an agent by name. An existing agent is answered unchanged."""

    name: str


class CancelRun(msgspec.Struct, frozen=True, gc=False):
    """Request the end of a run and of its open descendants."""

    run_id: str
    reason: str | None = None


class SteerRun(msgspec.Struct, frozen=True, gc=False):
    """Request that a run's agent pauses or resumes. `action` is `pause` or `resume`."""

    run_id: str
    action: str
    reason: str | None = None


class KillRun(msgspec.Struct, frozen=True, gc=False):
    """End a run and its open descendants at once, without asking the agent."""

    run_id: str
    reason: str | None = None


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Record that a reply which was held back now carries the pending commands of these runs.

    `worker_id` and `lease_epoch`: only of runs that this worker still holds.
    """

    run_ids: tuple[str, ...]
    worker_id: str | None = None
    lease_epoch: int | None = None
    by: str = ""
    """The dialect of the reply."""


MAX_INPUT_BYTES = 32_768
"""Of the content of an input, as UTF-8."""
InputType = Literal["input", "message"]
"""An answer or a message, by the words for the command that the agent gets."""


class GiveInput(msgspec.Struct, frozen=True, gc=False):
    """Answer a question of a run, the one that is named or the oldest that it waits for; or write to it."""

    run_id: str
    content: str
    question_id: int | None = None
    type: InputType | None = None
    """What is meant; None: an answer where the run waits for one, else a message."""
    link: AnswerLink | None = None
    """As in `AnswerApproval`."""
    asked_seq: int | None = None
    """The event with the words that are answered: if the question is asked in other words by now, it is no answer."""
    is_text: bool = True
    """As in `AnswerApproval`."""


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Claim the oldest queued run that matches, waiting up to `wait_ms` for one."""

    worker_id: str
    lease_ms: int
    agents: tuple[str, ...] | None = None
    labels: dict[str, str] = {}
    wait_ms: int = 0


class ClaimRun(msgspec.Struct, frozen=True, gc=False):
    """Claim this run."""

    run_id: str
    worker_id: str
    lease_ms: int


class Report(msgspec.Struct, frozen=True, gc=False):
    """A worker's telemetry: renews the lease, then appends. Answered at once unless `wait_ms` asks for commands.

    `sent_ids`, `warnings`, `data_field`: as in `Append`.
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
    data_field: str = "data"
    warnings: tuple[FieldWarning, ...] = ()
    placed: tuple[Stored | Refusal, ...] = ()
    portion: int = 0
    """Both as in `Append`."""


class Release(msgspec.Struct, frozen=True, gc=False):
    """Put a claimed run back into the queue. Repeated by the same worker, it gets the same answer."""

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
    warnings: tuple[FieldWarning, ...] = ()


class Decide(msgspec.Struct, frozen=True, gc=False):
    """Approve or reject a checkpoint that waits for approval. `status` is `approved` or `rejected`."""

    trace_id: str
    step_index: int
    status: str
    agent: str | None = None
    reason: str | None = None
    asked: tuple[int, int] | None = None
    """(run, seq) of the one checkpoint that is meant, as it was when it was shown."""
    asked_seq: int | None = None
    """The seq alone, of whichever run is meant; None: whatever waits now."""
    link: AnswerLink | None = None
    """As in `AnswerApproval`."""


class CreateKey(msgspec.Struct, frozen=True, gc=False):
    """Mint an API key for the caller's user."""

    name: str
    scopes: tuple[Scope, ...]


class RevokeKey(msgspec.Struct, frozen=True, gc=False):
    """Revoke an API key of the caller's organisation."""

    key_id: str


class RetryRun(msgspec.Struct, frozen=True, gc=False):
    """Create a new run with the input of one that has ended."""

    run_id: str
    input: bytes | None = None
    """JSON text of what it is asked instead; None: the same."""


class ForkRun(msgspec.Struct, frozen=True, gc=False):
    """Create a run that begins with a checkpoint of this one. `agent`: whose, where several have that step."""

    run_id: str
    step_index: int
    agent: str | None = None
    input: bytes | None = None
    """JSON text of what it is asked instead; None: the same."""


class Idempotency(msgspec.Struct, frozen=True, gc=False):
    """An Idempotency-Key as it came: kept 24 h with the reply that `encode` makes of the outcome."""

    route: str
    key: str
    digest: bytes
    """SHA-256 of the request body."""
    encode: Callable[[Any], tuple[int, bytes]]
    """outcome → (status, body) as the reply is to be repeated."""


class KeepReply(msgspec.Struct, frozen=True, gc=False):
    """Keep a reply under the Idempotency-Key that comes with this; without a status only see whether one is kept."""

    status: int = 0
    body: bytes = b""


class ContentPart(msgspec.Struct, frozen=True, gc=False):
    """Messages of a history, or metas of a meta list, that are kept as one."""

    key: bytes
    """The name of the history, or of the list, that ends with them."""
    parent: bytes
    """What they go on from; empty for nothing."""
    length: int
    """How many messages or metas there are up to their end."""
    body: bytes
    """JSON array of them."""
    is_meta: bool = False


class KeepContent(msgspec.Struct, frozen=True, gc=False):
    """Store parts of histories that are too long to be stored together with their events.

    No request says this: the engine does, before the events. Nothing shows it until a checkpoint names it.
    """

    parts: list[ContentPart]


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
    | AnswerApproval
    | MakeAnswerLink
    | CreateKey
    | RevokeKey
    | CreatePersona
    | CreateRoute
    | RetryRun
    | ForkRun
    | CreateBudget
    | ChangeBudget
    | DeleteBudget
    | ReserveBudget
    | ReleaseReservation
    | CreatePrice
    | DeletePrice
    | CorrectCosts
    | CreateRule
    | ChangeRule
    | DeleteRule
    | AcknowledgeAlert
    | MuteAlert
    | Redeliver
    | RedeliverFrom
    | CreateMember
    | ChangeMember
    | RemoveMember
    | MakeSignInLink
    | EndSignInLink
    | StartSession
    | EndSession
    | EndSessions
    | SetPassword
    | MarkCommand
    | KeepContent
    | KeepReply
)
Command = Write | Read | Stream | Reprice | Erase
ABOUT_MEMBERS = (CreateMember, ChangeMember, RemoveMember, StartSession)
"""Commands that may change who is a member."""
TELEMETRY = (Append, Report)
"""Commands whose items are stored as events. By a name of its own: `isinstance(…, Append | Report)` makes the union
each time."""
