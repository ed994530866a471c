"""What goes into a store and comes out of it, beside the nouns of the model: a unit's changes, the parts of a history,
a reply kept for its key. Plain values; what a store does with them is in `base`.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, TypeVar

import msgspec

from towerlog.model.agent import AgentRow
from towerlog.model.alert import AlertRow, AlertRule, WindowCount
from towerlog.model.approval import ApprovalRow
from towerlog.model.audit import AuditEntry
from towerlog.model.budget import BudgetRow, Reservation
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.delivery import Delivery, DeliveryBody
from towerlog.model.event import Event
from towerlog.model.facts import Erases
from towerlog.model.folds import UNKNOWN_FOLDS
from towerlog.model.key import Key
from towerlog.model.lane import Lane
from towerlog.model.member import Session, SessionsOver, SignInLink
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.price import PriceRow
from towerlog.model.principal import Counters, User
from towerlog.model.retention import Erasing, RetentionPolicy
from towerlog.model.run import RunRow, Status
from towerlog.model.run_text import RunText
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import UsageRow
from towerlog.store.content import HistoryNode, Message, MetaList

T = TypeVar("T")

PAGE_BODY_BYTES = 4 * 1024 * 1024
"""A page ends early once its events' bodies, or its rows as they are stored, have reached this size."""

MAX_OWN_STATES = 16
"""Newest runs read of those that a thread may resume from, beside the open ones."""
MAX_STATES = 64
"""Newest runs read of a whole thread, children included; and so many of its open ones."""


Durations = tuple[str | int | None, int, int, int, int]
"""Of ended runs: an hour or day since the epoch, or a name; how many; the median, the 95th percentile and the longest
of what they took, in ms."""


class Found(list[T]):
    """The rows of a page, in order."""

    cut = False
    """True: it ended early, for its size or its time, and more may follow."""
    searched_to: RunRow | None = None
    """Of a search that ended for its time: the last run that was looked at. Older ones were not."""


class RunWithState(NamedTuple):
    """A run of a thread that has a checkpoint."""

    row: RunRow
    is_child: bool
    """Its parent is a run of the same thread."""


class Quarantined(msgspec.Struct, frozen=True, gc=False):
    """An item that came from a worker without the lease: kept beside the run, never folded."""

    org: int
    run: int
    recorded_at: int
    worker_id: str
    lease_epoch: int | None
    type: str
    name: str | None
    data: bytes
    event_id: str | None = None
    dialect: str = ""
    key_id: str = ""
    """The API key that it was sent with."""


MAX_QUARANTINED = 1000
MAX_QUARANTINED_BYTES = 16 * 1024 * 1024
"""Items kept of one run and key, and their bytes, as far as one item goes beyond them: enough to see what a lost worker
did, and no place to fill a disk from. For each key on its own, so that nobody takes the room for another's result."""


class Kind(enum.StrEnum):
    """What a unit can be asked for at once, each by its key; the value is in brackets."""

    COUNTERS = "counters"
    """org (`Counters`)."""
    REF = "ref"
    """(org, `RunRef`) (`RunRow`); `reopen` is ignored here."""
    RUN = "run"
    """A run's number (`RunRow`)."""
    THREAD = "thread"
    """(org, thread id) (`ThreadRow`)."""
    THREAD_RUNS = "thread_runs"
    """(org, thread id, limit) (list of `RunRow`, newest first)."""
    TRACE_RUNS = "trace_runs"
    """(org, foreign id, limit) (list of `RunRow`, newest first: that of this foreign id, and those whose foreign ids
    are it, a colon and more)."""
    AGENT = "agent"
    """(org, name) (`AgentRow`)."""
    AGENT_ID = "agent_id"
    """(org, agent id) (`AgentRow`)."""
    LANE = "lane"
    """A run's number (`Lane`)."""
    EVENT_ID = "event_id"
    """(run, event id) (`Event`, without its data)."""
    SPAN_WAY = "span_way"
    """`SpanWay` (by span id a `LinkAbove` of each span on it, None for one that is not stored under its own id or is
    damaged; and maybe of those on other ways of its trace that are asked for with it). Ways that meet are one from
    there on; together they have no more spans than the sum of their `levels`."""
    RESPONSE = "response"
    """(org, event id that begins with `model.span.RESPONSE`) (`Event`, without its data: the newest of any run)."""
    SAME = "same"
    """`Respelled` (True: its event says the same JSON as the text)."""
    EVENT = "event"
    """(run, seq) (`Event`)."""
    STARTED = "started"
    """A run's number (`Event`, the first that reports its start)."""
    CHECKPOINT = "checkpoint"
    """(run, agent, step) (`CheckpointRow`)."""
    DECISION = "decision"
    """(org, trace id, step) (list of `CheckpointRow`, newest run first)."""
    NODES = "nodes"
    """(org, keys of prefixes) (the length of the longest that is stored: what is before it is stored as well)."""
    METAS = "metas"
    """(org, keys of prefixes) (the length of the longest that is stored)."""
    CHAIN = "chain"
    """(org, key of a node) (how many messages the history has that ends in it)."""
    FAMILY = "family"
    """`Family` (`Found` of `RunRow`: those below it, at most MAX_FAMILY, children before grandchildren; cut where there
    are more)."""
    CLAIMS = "claims"
    """`Claimant` (list of (`Lane`, `RunRow`): queued lanes that it may take, the lowest place first, then held ones
    that ran out)."""
    PERSONA = "persona"
    """(org, persona key, version or "" for the newest) (`Persona`)."""
    ROUTE = "route"
    """(org, route id) (`ProviderRoute`, the newest version)."""
    CALLS_WAITING = "calls_waiting"
    """A run's number (`ApprovalRow`: the oldest of its tool calls that wait for a person)."""
    SPENT_LINK = "spent_link"
    """(org, nonce of an answer link) (until when it is remembered; none while it was not used)."""
    KEY = "key"
    """(org, key id) (`Key`)."""
    USER = "user"
    """(org, user id) (`User`)."""
    MEMBER_COUNTS = "member_counts"
    """org (`MemberCounts`)."""
    MEMBER_NAME = "member_name"
    """(org, one of `User.folded_names`) (the id of the member whose it is)."""
    SIGN_IN_LINK = "sign_in_link"
    """(org, digest) (`SignInLink`; of one that is not good any more there is nothing)."""
    SIGN_IN_LINK_ID = "sign_in_link_id"
    """(org, link id) (the same)."""
    SESSION = "session"
    """(org, session id) (`Session`)."""
    REPLY = "reply"
    """(org, name) (`StoredReply`)."""
    BUDGETS = "budgets"
    """org (all its `BudgetRow`, oldest first, also those that are deleted and still stored; empty for none)."""
    BUDGET_SPENT = "budget_spent"
    """`SpentSince` (nano-dollars)."""
    RESERVATION = "reservation"
    """(org, reservation id) (`Reservation`)."""
    RESERVATIONS = "reservations"
    """org (how many are open, by the id of the key that asked for them)."""
    RUN_RESERVATIONS = "run_reservations"
    """run (all its `Reservation` that are open)."""
    PRICES = "prices"
    """org (all its `PriceRow`, oldest first; empty for none)."""
    ALERT_RULES = "alert_rules"
    """org (all its `AlertRule`, oldest first; empty for none)."""
    ALERT = "alert"
    """(org, rule id, subject) (`AlertRow`, the newest)."""
    ALERT_ID = "alert_id"
    """(org, alert id) (`AlertRow`)."""
    DELIVERY = "delivery"
    """(org, delivery id) (`Delivery`)."""
    DELIVERIES_AFTER = "deliveries_after"
    """`DeliveriesAfter` (list of `Delivery`, oldest first)."""
    OUTBOX_COUNTS = "outbox_counts"
    """org (`OutboxCounts`)."""
    BODIES_UNWRITTEN = "bodies_unwritten"
    """(org, limit) (list of `DeliveryBody` of which some delivery is not written yet, in the order of their making)."""
    RETENTION = "retention"
    """org (all its `RetentionPolicy`, by kind; empty for none)."""
    TOOL_CALLS = "tool_calls"
    """A run's number (list of `Event`: its last MAX_CALLS tool calls, oldest first)."""


Wanted = dict[Kind, list[Any]]
"""Keys by kind, ascending: a store that locks rows locks them in this order."""
Loaded = dict[Kind, dict[Any, Any]]
"""Values by kind and key; what there is not is left out."""
MAX_FAMILY = 200
"""Open descendants of a run that one commit may change."""
MAX_DESCENDANTS = 10_000
"""Descendants of a run that are looked through for open ones."""


class Spread(msgspec.Struct, frozen=True, gc=False):
    """The cancel of a run that has not reached all runs below it yet."""

    run: int
    org: int
    reason: str | None = None
    user_id: str | None = None
    forced: bool = False
    """Ends what is below, and does not ask."""


class StoredReply(msgspec.Struct, frozen=True, gc=False):
    """The reply kept for an Idempotency-Key. `name` is route and key together."""

    org: int
    name: str
    digest: bytes
    status: int
    body: bytes
    created_at: int
    run: int | None = None
    lease_epoch: int | None = None
    """The lease that a claim was granted: its reply is worth nothing once that is gone."""
    ids: bytes = b""
    """JSON text of what the outcome was about, of which the reply can be made again."""


class ReplyBody(msgspec.Struct, frozen=True, gc=False):
    """The reply itself, written after the commit that it is about. A `StoredReply` without one has status 0."""

    org: int
    name: str
    status: int
    body: bytes


class AuditHead(NamedTuple):
    """The end of an organisation's audit."""

    number: int
    hash: bytes


class StoredEntry(NamedTuple):
    """An entry of the audit as it is stored."""

    number: int
    hash: bytes
    doc: bytes
    """JSON text, as it was hashed."""
    latest_at: int
    """What stands beside it as the latest time of all entries up to this one."""
    at: int
    fault: str
    """What contradicts itself in it; empty for nothing."""


class UsageSpan(msgspec.Struct, frozen=True):
    """Which roll-up cells are added up."""

    since_hour: int
    until_hour: int
    """The first after the span."""
    agent: str | None = None
    model: str | None = None
    after: int | str | None = None
    """The hour, agent or model of the last sum before these."""


class RunChange(msgspec.Struct, gc=False):
    """A run row before and after a unit; `before` None: the row is new."""

    before: RunRow | None
    after: RunRow
    moves: tuple[tuple[int, Status], ...] = ()
    """(seq, status from that event on) of each event of the unit that has moved the status, or begun the run."""

    def row_at(self, seq: int) -> RunRow:
        """The row with the status that it had after this event of the unit."""
        known = [status for at, status in self.moves if at <= seq] or [(self.before or self.after).status]
        return self.after if known[-1] is self.after.status else msgspec.structs.replace(self.after, status=known[-1])


class Changes(msgspec.Struct):
    """All that one transaction writes. Maps are keyed so that a later change of the same row replaces the earlier."""

    events: list[Event] = []
    runs: dict[int, RunChange] = {}
    texts: dict[int, RunText] = {}
    """By run: what is told of it in words, beside what is known."""
    threads: dict[tuple[int, str], ThreadRow] = {}
    left_threads: set[tuple[int, str]] = set()
    """By (org, thread id): stored, and gone before anything of `threads` is written."""
    moved: dict[int, RunRow] = {}
    """Runs that stand in another thread from now on, as they are stored: so do all their checkpoints."""
    agents: dict[int, AgentRow] = {}
    usage: dict[tuple[int, int, str, str, str], UsageRow] = {}
    """Increments, added to what is there."""
    checkpoints: dict[tuple[int, str, int], CheckpointRow] = {}
    approvals: dict[tuple[int, int], ApprovalRow | None] = {}
    """By (run, seq); None: it is not open any more."""
    ended: list[int] = []
    """Runs that have ended, and leave nothing open."""
    spent_links: dict[tuple[int, str], int] = {}
    """By (org, nonce): until when, in wall ms, it has to be known that this link was used."""
    lanes: dict[int, Lane] = {}
    renewed: set[int] = set()
    """Lanes of which only the deadline and the doc have changed: their place in the queue is as it is stored."""
    messages: list[Message] = []
    nodes: list[HistoryNode] = []
    metas: list[MetaList] = []
    spreads: dict[int, Spread | None] = {}
    """By the number of the cancelled run; None: it has reached all of them."""
    quarantined: list[Quarantined] = []
    replies: list[StoredReply] = []
    reply_bodies: list[ReplyBody] = []
    keys: list[Key] = []
    users: dict[tuple[int, str], User] = {}
    """By (org, user id)."""
    sign_in_links: dict[tuple[int, bytes], SignInLink] = {}
    """By (org, digest)."""
    sessions_over: list[SessionsOver] = []
    """Sessions that end, with links, before those that begin."""
    sessions: list[Session] = []
    """Sessions that begin."""
    personas: list[Persona] = []
    routes: list[ProviderRoute] = []
    counters: dict[int, Counters] = {}
    budgets: dict[tuple[int, str], BudgetRow | None] = {}
    """By (org, budget id); None: it is gone, and so is all that is stored of what it paused."""
    budget_pauses: dict[tuple[int, str, int], bool] = {}
    """By (org, budget id, run): whether this budget has paused this run, and nobody has ended that."""
    reservations: dict[tuple[int, str], Reservation | None] = {}
    """By (org, reservation id); None: it is settled, or its time is over."""
    prices: dict[tuple[int, str], PriceRow | None] = {}
    """By (org, price id); None: it is gone."""
    alert_rules: dict[tuple[int, str], AlertRule | None] = {}
    """By (org, rule id); None: it is gone, and so are its windows."""
    alerts: dict[tuple[int, str], AlertRow] = {}
    """By (org, alert id)."""
    alert_windows: dict[tuple[int, str, int], WindowCount] = {}
    """By (org, rule id, minute since the epoch): increments, added to what is there."""
    deliveries: dict[tuple[int, str], Delivery] = {}
    """By (org, delivery id)."""
    delivery_bodies: dict[tuple[int, str], DeliveryBody] = {}
    """By (org, body id): what deliveries tell. What a body says stands; which of its deliveries are written changes."""
    retention: dict[tuple[int, Erases], RetentionPolicy | None] = {}
    """By (org, kind); None: it is gone."""
    erasing: list[Erasing] = []
    """Erasures that the log tells of with this transaction."""
    audit: list[AuditEntry] = []
    """Acts, in their order."""
    replaces: int | None = None
    """A rebuild: the organisation whose runs and their texts, threads, agents, usage, checkpoints and approvals are
    dropped first, and whose names of members are kept for the users that are there. What is written in their place is
    of this version's folds, and noted to be."""


NO_CHANGES = Changes()
"""What a transaction without anything to write equals."""


class Rows(msgspec.Struct):
    """All projection rows of an organisation at one moment, and the position it had given out then."""

    position: int
    runs: list[RunRow]
    threads: list[ThreadRow]
    agents: list[AgentRow]
    usage: list[UsageRow]
    checkpoints: list[CheckpointRow]
    approvals: list[ApprovalRow]
    texts: list[RunText]
    faults: list[str]
    """What contradicts itself inside the store: a column that looks a row up and says something else than the row."""
    erasing: frozenset[int] = frozenset()
    """Runs of which the log tells an erasure that is still being carried out."""
    folds: int = UNKNOWN_FOLDS
    """The version of the folds that has made all of them."""
