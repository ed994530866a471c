"""Replies about runs as frozen values; other replies are in `fleet_shapes`.

Members that this version does not know are in `raw`. Times are RFC 3339 text as received, money is in dollars, unknown
values are None. A shape whose plain name another class of the SDK has ends in `Info`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from towerlog.sdk.api.annotations import anything, checks_of
from towerlog.sdk.api.event_members import EventMembers
from towerlog.sdk.wire.errors import BadAnswer

S = TypeVar("S", bound="Shape")
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A value made from a JSON object by `read`. A field without a default is required."""

    raw: Json = field(repr=False, compare=False)

    @classmethod
    def read(cls: type[S], raw: object) -> S:
        """Raises BadAnswer if it is not an object, lacks a required member, or has one of another type.

        A member that is null where its field may not be is as good as not there.
        """
        if not isinstance(raw, dict):
            raise BadAnswer(f"the server's reply is not a {cls.__name__}")
        shape: Any = cls
        checks = checks_of(shape)
        values: dict[str, Any] = {"raw": raw}
        for known in fields(cls):
            name = known.name
            if name == "raw":
                continue
            value, check = raw.get(name), checks.get(name, anything)
            if value is not None:
                values[name] = known.metadata.get("read", _as_it_is)(value)
                if not check(values[name]):
                    raise BadAnswer(f"the server's reply has another {name!r} than a {cls.__name__} has")
            elif name in raw and check(None):
                values[name] = None
            elif known.default is MISSING:
                raise BadAnswer(f"the server's reply lacks {name!r}, so it is not a {cls.__name__}")
        return cls(**values)


def _as_it_is(value: Any) -> Any:
    return value


def many(shape: type[S]) -> Callable[[object], tuple[S, ...]]:
    """Reads a list of shapes."""

    def read(raw: object) -> tuple[S, ...]:
        if not isinstance(raw, list):
            raise BadAnswer(f"the server's reply is not a list of {shape.__name__}")
        return tuple(shape.read(item) for item in raw)

    return read


def texts(raw: object) -> tuple[Any, ...]:
    """Reads a list of texts."""
    if not isinstance(raw, list):
        raise BadAnswer("the server's reply is not a list of texts")
    return tuple(raw)


@dataclass(frozen=True, kw_only=True)
class Usage(Shape):
    """Tokens in buckets that share no token; `total_tokens` is the sender's total if it gave no split.

    `input_tokens` is without cached and cache-writing input, `output_tokens` without reasoning. A run's
    `total_input_tokens` is the sum of the first three, its `total_output_tokens` the sum of the other two.
    """

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None

    @property
    def total_input_tokens(self) -> int | None:
        """All input: uncached, cached and cache-writing. None where nothing of it is known."""
        return _sum(self.input_tokens, self.cached_input_tokens, self.cache_write_tokens)

    @property
    def total_output_tokens(self) -> int | None:
        """All output, with reasoning. None where nothing of it is known."""
        return _sum(self.output_tokens, self.reasoning_tokens)


def _sum(*figures: int | None) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Lease(Shape):
    """Who holds a run, and until when."""

    state: str
    worker_id: str | None
    lease_epoch: int
    lease_expires_at: str | None = None
    last_heartbeat: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sender(Shape):
    """The event numbers of one client in a run: `missing` has ranges, both ends included."""

    client_id: str
    received: int
    highest: int
    missing: list[list[int]]
    dropped: int


@dataclass(frozen=True, kw_only=True)
class DeliveryInfo(Shape):
    """Whether a run's log is complete; `complete` is None if no client has numbered its events."""

    complete: bool | None
    clients: tuple[Sender, ...] = field(default=(), metadata={"read": many(Sender)})


@dataclass(frozen=True, kw_only=True)
class Cancel(Shape):
    """The stages of a cancel; None for a stage that was not reached."""

    requested_at: str | None = None
    delivered_at: str | None = None
    acknowledged_at: str | None = None
    stopped_at: str | None = None
    forced_at: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Liveness(Shape):
    """The liveness of a run: `verdict` is alive, silent, stalled or lost."""

    verdict: str | None = None
    process_at: str | None = None
    progress_at: str | None = None
    output_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Question(Shape):
    """A question that nobody has answered."""

    question_id: int
    asked_at: str
    question: str | None = None
    asked_seq: int | None = None
    """The event with these words."""


@dataclass(frozen=True, kw_only=True)
class ClosedQuestion(Shape):
    """What became of a question: `state` is answered, expired or withdrawn."""

    question_id: int
    state: str
    closed_at: str
    answered_by: str | None = None
    """A name; None where nobody has answered, or it is unknown."""
    taken_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class TreeTotals(Shape):
    """What a run and all runs below it have spent; `complete`: no run of them was left out."""

    runs: int
    total_input_tokens: int | None = None
    total_output_tokens: int | None = None
    total_tokens: int | None = None
    total_cost_usd: float | None = None
    cost_source: str | None = None
    unpriced_calls: int = 0
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class RunInfo(Shape):
    """Everything about a run."""

    run_id: str
    org_id: str
    thread_id: str
    status: str
    created_at: str
    trace_id: str
    last_seq: int
    created_by_user_id: str | None = None
    agent: str | None = None
    agent_id: str | None = None
    source: str | None = None
    model: str | None = None
    persona_id: str | None = None
    route_id: str | None = None
    parent_run_id: str | None = None
    resumed_from: str | None = None
    resumed_by: str | None = None
    retry_of: str | None = None
    forked_from: Json | None = None
    foreign_id: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    failed_at: str | None = None
    ended_at: str | None = None
    last_event_at: str | None = None
    unserved: bool = False
    busy_worker: str | None = None
    late_events: int = 0
    events_erased_at: str | None = None
    total_input_tokens: int | None = None
    total_output_tokens: int | None = None
    total_cost_usd: float | None = None
    cost_source: str | None = None
    """`reported`, `computed` or `mixed`."""
    price_version: str | None = None
    unpriced_calls: int = 0
    """Reports of tokens that the cost leaves out, since no price is known."""
    duration_ms: int | None = None
    cache_hit_rate: float | None = None
    credits_used: int | None = None
    usage: Usage | None = field(default=None, metadata={"read": Usage.read})
    usage_flags: tuple[str, ...] = field(default=(), metadata={"read": texts})
    tree: TreeTotals | None = field(default=None, metadata={"read": TreeTotals.read})
    error: str | None = None
    question: str | None = None
    question_id: int | None = None
    questions: tuple[Question, ...] = field(default=(), metadata={"read": many(Question)})
    closed_questions: tuple[ClosedQuestion, ...] = field(default=(), metadata={"read": many(ClosedQuestion)})
    phase: str | None = None
    attempt: int = 1
    forced: bool = False
    cancel_requested_at: str | None = None
    metadata: Any = None
    input: Any = None
    result: Any = None
    lane: Lease | None = field(default=None, metadata={"read": Lease.read})
    delivery: DeliveryInfo | None = field(default=None, metadata={"read": DeliveryInfo.read})
    cancel: Cancel | None = field(default=None, metadata={"read": Cancel.read})
    liveness: Liveness | None = field(default=None, metadata={"read": Liveness.read})
    children: tuple[RunInfo, ...] = field(default=(), metadata={"read": lambda raw: many(RunInfo)(raw)})


@dataclass(frozen=True, kw_only=True)
class RunRow(Shape):
    """A row of the list of runs in the `runs` dialect."""

    run_id: str
    org_id: str
    thread_id: str
    status: str
    created_at: str
    model: str | None = None
    persona_id: str | None = None
    total_input_tokens: int | None = None
    total_output_tokens: int | None = None
    total_cost_usd: float | None = None
    duration_ms: int | None = None
    cache_hit_rate: float | None = None
    credits_used: int | None = None
    completed_at: str | None = None
    failed_at: str | None = None
    created_by_user_id: str | None = None
    created_by_user_name: str | None = None
    created_by_email: str | None = None


@dataclass(frozen=True, kw_only=True)
class ThreadRun(Shape):
    """A run in the list of a thread's runs."""

    run_id: str
    status: str
    created_at: str


@dataclass(frozen=True, kw_only=True)
class CreatedRun(Shape):
    """A queued run."""

    run_id: str
    trace_id: str


@dataclass(frozen=True, kw_only=True)
class Thread(Shape):
    """A thread. `policy` says what happens to a run that is created while another is open."""

    thread_id: str
    policy: str
    created_at: str
    updated_at: str
    run_count: int
    title: str | None = None


@dataclass(frozen=True, kw_only=True)
class Event(Shape, EventMembers):
    """An event of a run's log. `name` is the sender's type if it is not a canonical one; `hash` closes its chain."""

    seq: int
    type: str
    data: Any
    recorded_at: str
    duration_ms: int | None = None
    position: int = 0
    name: str | None = None
    dialect: str | None = None
    event_id: str | None = None
    occurred_at: str | None = None
    late: bool = False
    future: bool = False
    hash: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunEvent(Shape, EventMembers):
    """An event as a follower of a run receives it."""

    seq: int
    type: str
    data: Any
    created_at: str
    position: int = 0
    """Where it stands in the organisation's log, over all runs."""
    duration_ms: int | None = None
    occurred_at: str | None = None
    """When it happened by the sender's clock; None where that told nothing, or something absurd."""

    @property
    def happened_at(self) -> str:
        """`occurred_at`; where there is none, when the event was stored."""
        return self.occurred_at or self.created_at


@dataclass(frozen=True, kw_only=True)
class Gap(Shape):
    """Events that a follower cannot get: those between its cursor and `oldest_seq` are no longer kept, or the log was
    replaced (`reason`), and is then followed from its beginning.
    """

    requested: int | None = None
    oldest_seq: int | None = None
    missing: int | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Shape):
    """A checkpoint. Lists leave out `history`, `history_meta` and `figures`."""

    checkpoint_id: str
    run_id: str
    thread_id: str
    agent: str
    step_index: int
    status: str
    seq: int
    created_at: str
    updated_at: str
    revision: int = 0
    message_count: int = 0
    is_initial: bool = False
    trace_id: str | None = None
    figures: Any = None
    history: list[Any] | None = None
    history_meta: list[Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Ingested(Shape):
    """The results of a batch of events, in order, and the pending commands of their runs."""

    results: list[Json]
    commands: list[Json]


@dataclass(frozen=True, kw_only=True)
class Reported(Ingested):
    """The results of a worker's report, and the state of its run."""

    run: Any = None
