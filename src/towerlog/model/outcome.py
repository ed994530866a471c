"""Outcomes: the engine's answers to commands and questions. A closed set; a dialect encodes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.alert import AlertNow, RuleNow
from towerlog.model.alert_preview import RulePreview
from towerlog.model.approval_views import ApprovalAnswered, ApprovalView, LinkMade
from towerlog.model.audit import AuditRow
from towerlog.model.budget import BudgetNow, ReservationNow, Reserved
from towerlog.model.checkpoint import CheckpointRow, CheckpointView
from towerlog.model.delivery import DeliveryNow, Redelivered
from towerlog.model.event import Event, Refusal, RunByForeignId
from towerlog.model.key import Key
from towerlog.model.lane import Lane
from towerlog.model.liveness import Liveness
from towerlog.model.member import MemberOutcome, MemberRows
from towerlog.model.outline import Outline
from towerlog.model.pending import Pending
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.price import PriceOutcome, PriceRows, PriceView
from towerlog.model.retention import RetentionNow, RetentionOutcome
from towerlog.model.run import RunRow
from towerlog.model.run_text import Hit
from towerlog.model.span_figures import AboutRun
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import RunSums, Usage, UsageRow


class Replayed(msgspec.Struct, frozen=True, gc=False):
    """The stored reply of the first request with this Idempotency-Key."""

    status: int
    body: bytes
    run: int | None = None
    lease_epoch: int | None = None
    """Epoch of the lease that the reply granted, if it did."""
    ids: bytes = b""
    """What its outcome was about; while `status` is 0 the reply itself is not stored."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An item that is on stable storage: stored now, or before under the same id (`duplicate`)."""

    position: int
    seq: int
    run_id: str
    agent: str | None = None
    duplicate: bool = False
    late: bool = False
    commands: tuple[Pending, ...] = ()
    """The pending commands of its run; of a reply to a sender that neither reports nor holds it, none."""
    foreign: bool = False
    """It would change a run that another key holds: it is stored and changes nothing."""
    unused: tuple[tuple[str, str], ...] = ()
    """Members of its data of no use, each with why; "" is the thread that it names. A repeat does not say so again."""
    budget_warning: str | None = None
    """That a budget is used up which counts what the event's agent spends."""


class PolledRun(msgspec.Struct, frozen=True, gc=False):
    """A run that a sender asked about, by the name that it used; `goes_on`: as one that has not ended."""

    ref: RunByForeignId
    row: RunRow
    goes_on: bool = False


class Appended(msgspec.Struct, frozen=True, gc=False):
    """One result per item of the command, in order. A stored `AgentHeartbeat` has position 0."""

    results: list[Stored | Refusal]
    polled: tuple[PolledRun, ...] = ()
    """Those of the command's `polled` runs that exist."""
    has_news: bool = False
    """A command of them is carried for the first time: the reply must not be held back."""
    has_warnings: bool = False
    """Some of the results are `foreign` or have something `unused`."""


def has_warnings(results: Sequence[Stored | Refusal]) -> bool:
    """Whether the sender is to be told more of any of them than that it is stored."""
    return any(type(one) is Stored and (one.foreign or one.unused) for one in results)


class TreeUsage(msgspec.Struct, frozen=True, gc=False):
    """What a run and all runs below it have spent."""

    runs: int
    usage: Usage
    complete: bool
    """False where there are more runs than are looked at."""


class RunView(msgspec.Struct, frozen=True, gc=False):
    """A run with what is not in its row."""

    row: RunRow
    org_id: str
    agent_id: str | None = None
    """UUID of the run's main agent."""
    lane: Lane | None = None
    created_by_name: str | None = None
    created_by_email: str | None = None
    parent_run_id: str | None = None
    resumed_by: str | None = None
    """The newest run that goes on from it, where its runner has begun anew (only where one run was asked for)."""
    result: bytes | None = None
    input: bytes | None = None
    """JSON text of the run's result and of its input (only where one run was asked for)."""
    tree: TreeUsage | None = None
    """Only where one run was asked for."""
    answered_by: Mapping[str, str] | None = None
    """Who has answered its questions → their names, of users (only where one run was asked for)."""
    children: tuple[RunView, ...] = ()
    liveness: Liveness = Liveness()
    unserved: bool = False
    busy_worker: str | None = None
    """Of a queued one: none serves it, or one that does and holds another (only where one run was asked for)."""


class RunCreated(msgspec.Struct, frozen=True, gc=False):
    """A queued run."""

    run_id: str
    trace_id: str


class RunChanged(msgspec.Struct, frozen=True, gc=False):
    """A run after a command of a person. `changed` is False when nothing had to be changed."""

    row: RunRow
    changed: bool


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """Rows of the runs whose commands the reply shows; runs that the worker no longer holds are left out."""

    rows: dict[str, RunRow]


class Steered(msgspec.Struct, frozen=True, gc=False):
    """A run after a wish of the control side, as its commit left it; answered with a `RunView`."""

    row: RunRow


class Begun(msgspec.Struct, frozen=True, gc=False):
    """A run that was begun once more, as its commit left it; answered with a `RunView`."""

    row: RunRow


class Taken(msgspec.Struct, frozen=True, gc=False):
    """A run and its lane as the commit of a claim left them; answered with `Claimed`."""

    row: RunRow
    lane: Lane


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A run under its lease. `checkpoint`: the state to go on from; `thread_history`: else what earlier runs left."""

    view: RunView
    lane: Lane
    input: bytes | None = None
    """JSON text of the run's input."""
    checkpoint: CheckpointView | None = None
    persona: Persona | None = None
    route: ProviderRoute | None = None
    thread_history: list[bytes] = []


class NothingToClaim(msgspec.Struct, frozen=True, gc=False):
    """No queued run matched within the wait."""


class Reported(msgspec.Struct, frozen=True, gc=False):
    """The lane after a report, and one result per item."""

    view: RunView
    lane: Lane
    results: list[Stored | Refusal] = []
    has_news: bool = False
    """A command is carried for the first time: the reply must not be held back."""
    has_warnings: bool = False


class Decided(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint after a person's decision."""

    trace_id: str
    step_index: int
    status: str


class Page(msgspec.Struct, frozen=True, gc=False):
    """Rows of one kind, and the cursor of the next page; None on the last one."""

    rows: (
        list[RunView]
        | list[ThreadRow]
        | list[AgentRow]
        | list[Event]
        | list[CheckpointRow]
        | list[Key]
        | list[UsageRow]
        | list[ApprovalView]
        | list[LaneView]
        | list[str]
        | list[WorkerView]
        | list[Persona]
        | list[ProviderRoute]
        | list[BudgetNow]
        | list[ReservationNow]
        | PriceRows
        | list[RuleNow]
        | list[AlertNow]
        | list[DeliveryNow]
        | list[AuditRow]
        | MemberRows
    )
    next: str | None = None
    span: tuple[int, int] | None = None  # of sums over a time: from when to before when, in wall ms
    live_cursor: str | None = None  # of rows that can be watched: changes after this may be missing
    about: AboutRun | None = None  # where that was asked for, of the run of events
    searched_to: int | None = None
    """Of a search that ended for its time: runs that began before this, wall ms, were not looked at."""
    hits: dict[str, Hit] | None = None  # of a search for words: where each run has them, by run id


class LaneView(msgspec.Struct, frozen=True, gc=False):
    """A lane with its run."""

    run: RunView
    lane: Lane
    unserved: bool = False
    busy_worker: str | None = None


class WorkerView(msgspec.Struct, frozen=True, gc=False):
    """A worker and the lanes it holds."""

    worker_id: str
    last_heartbeat: int | None
    run_ids: tuple[str, ...]


class LaneCounts(msgspec.Struct, frozen=True, gc=False):
    """A page of lanes with totals of the whole queue; times in ms of the steady clock."""

    page: Page
    queued: int
    held: int
    oldest_queued_at: int | None
    now: int
    unserved: int = 0
    """Of the lanes of the page, queued ones that no worker serves."""


class DamagedPlace(msgspec.Struct, frozen=True, gc=False):
    """An event that cannot be shown, since it is damaged in the store. `run_id` is None where nothing tells it."""

    run_id: str | None
    position: int
    seq: int


class RunFacets(msgspec.Struct, frozen=True, gc=False):
    """Facet → (value, how many runs), the most first; None for one that would have taken too long."""

    facets: dict[str, list[tuple[str | None, int]] | None]


class RunDurations(msgspec.Struct, frozen=True, gc=False):
    """(group, ended runs, median, 95th percentile, longest), in ms."""

    rows: list[tuple[str | int | None, int, int, int, int]]


class FeedPage(msgspec.Struct, frozen=True, gc=False):
    """Events of an agent's feed, oldest first, with the log's epoch for cursors."""

    agent: AgentRow
    events: list[Event]
    epoch: str
    last: int | None
    """The position that the page reaches to; None for an empty one."""
    damaged: tuple[DamagedPlace, ...] = ()
    """What belongs into this page and is damaged."""


class KeyMinted(msgspec.Struct, frozen=True, gc=False):
    """A new key. This is the only reply with its text."""

    key: Key
    text: str


class ThreadView(msgspec.Struct, frozen=True, gc=False):
    """A thread; `created`: whether this command created it."""

    row: ThreadRow
    created: bool = False


class PersonaView(msgspec.Struct, frozen=True, gc=False):
    """A version of a persona; `created`: whether this command created it."""

    persona: Persona
    created: bool = False


class RouteView(msgspec.Struct, frozen=True, gc=False):
    """A version of a route; `created`: whether this command created it."""

    route: ProviderRoute
    created: bool = False


class AgentView(msgspec.Struct, frozen=True, gc=False):
    """An agent; `created`: whether this command created it."""

    row: AgentRow
    created: bool = False


class ContentKept(msgspec.Struct, frozen=True):
    """A part of a history is stored."""


class ReplyKept(msgspec.Struct, frozen=True):
    """A reply is kept with this status and body; status 0: there was none, and none is kept."""

    status: int
    body: bytes


RunOutcome = Appended | ContentKept | ReplyKept | RunCreated | RunChanged | Delivered
BudgetOutcome = BudgetNow | Reserved | ReservationNow
AlertOutcome = RuleNow | AlertNow | DeliveryNow | Redelivered
Placed = (
    RunOutcome
    | Steered
    | Begun
    | Taken
    | NothingToClaim
    | Reported
    | Decided
    | ApprovalAnswered
    | LinkMade
    | KeyMinted
    | Key
    | ThreadView
    | AgentView
    | PersonaView
    | RouteView
    | BudgetOutcome
    | PriceView
    | RetentionNow
    | AlertOutcome
    | MemberOutcome
)
"""What placing a command gives: ids, and rows as its commit leaves them."""
Outcome = (
    RunOutcome
    | RunView
    | Claimed
    | NothingToClaim
    | Reported
    | Decided
    | ApprovalAnswered
    | LinkMade
    | ApprovalView
    | Page
    | LaneCounts
    | FeedPage
    | RunFacets
    | RunDurations
    | RunSums
    | Outline
    | CheckpointView
    | KeyMinted
    | Key
    | ThreadView
    | AgentView
    | PersonaView
    | RouteView
    | BudgetOutcome
    | PriceOutcome
    | RetentionOutcome
    | AlertOutcome
    | RulePreview
    | MemberOutcome
    | Replayed
)
