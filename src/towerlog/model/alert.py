"""Alerts: rules that people make, what each of them watches, and the alerts that have come of them.

Rules and alerts are state, no projection: an alert stands in the transaction of the event that caused it, or of the
timer's look that found it, and a rebuild leaves it alone. Times are wall ms; money is integer nano-dollars.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from towerlog.model.agent import normal_name
from towerlog.model.alert_channel import AlertChannel
from towerlog.model.event import FieldWarning
from towerlog.model.usage import summed

MAX_RULES = 200
"""Of an organisation: each is looked at whenever something happens that it may be about."""
MAX_QUIET_AGENTS = 500
"""Agents of which a rule with a cool-down remembers when it told of them last; of more the oldest are forgotten."""
MAX_QUIET_BYTES = 24 * 1024
"""Of their names as JSON; past it the same."""
MAX_RULE_BYTES = 64 * 1024
"""Of a rule as it is stored: these, and its channels."""
MAX_ALERT_BYTES = 8 * 1024
"""Of an alert as it is stored."""
MAX_WINDOW_MINUTES = 24 * 60
DEFAULT_WINDOW_MINUTES = 60
MAX_MINUTES = 60 * 24 * 30
"""Of a threshold, a cool-down, a pause between reminders, a mute."""
MAX_TIMES = 50
DEFAULT_TIMES = 3
DEFAULT_MIN_RUNS = 5
"""Ended runs in a window, below which their failures are no rate."""
MAX_CALLS = 200
"""Tool calls of a run that are looked at for a loop."""
MINUTE_MS = 60_000
_encode = msgspec.json.Encoder().encode


class AlertTrigger(enum.StrEnum):
    """What a rule watches."""

    ERROR = "error"
    COST_THRESHOLD = "cost_threshold"
    WAITING_TOO_LONG = "waiting_too_long"
    BUDGET = "budget"
    BURN_RATE = "burn_rate"
    STALLED = "stalled"
    LOST = "lost"
    LOOP = "loop"
    FAILURE_RATE = "failure_rate"
    QUEUE_WAIT = "queue_wait"
    UNSERVED = "unserved"


ABOUT_NO_RUN = frozenset({AlertTrigger.BURN_RATE, AlertTrigger.FAILURE_RATE})
"""Triggers that add up what many runs do: there is no run that they could act on."""
FACTS = frozenset({AlertTrigger.ERROR, AlertTrigger.LOST, AlertTrigger.LOOP, AlertTrigger.COST_THRESHOLD})
"""Triggers about something that has happened: an alert of theirs lasts until somebody acknowledges it. What the others
are about can pass."""
BY_TIME = frozenset(
    {
        AlertTrigger.WAITING_TOO_LONG,
        AlertTrigger.STALLED,
        AlertTrigger.QUEUE_WAIT,
        AlertTrigger.UNSERVED,
    }
)
"""Triggers about runs of which nothing may be heard: the timer looks for them."""


class AlertState(enum.StrEnum):
    """Of an alert, and of what a rule watches. `NO_DATA`: nothing has happened that could be judged."""

    OK = "OK"
    ALERT = "ALERT"
    NO_DATA = "NO_DATA"


class AlertAct(enum.StrEnum):
    """What an alert asks of its run."""

    PAUSE = "pause"
    CANCEL = "cancel"


class AlertScope(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a rule is about: all that is given must hold; with nothing given, the whole organisation."""

    agent: str | None = None
    thread_id: str | None = None
    run_id: str | None = None
    """The root of a tree: this run and all that are below it."""
    label: str | None = None
    """`name=value`, or a name alone: of the run's lane, or of its metadata."""
    persona: str | None = None
    """A persona's key, or key and version."""

    def __post_init__(self) -> None:
        if self.agent is not None:
            msgspec.structs.force_setattr(self, "agent", normal_name(self.agent))


class AlertConfig(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The figures of a trigger; each needs some of them."""

    amount_nanos: int | None = None
    """`cost_threshold`: limit for one run. `burn_rate`: limit for the window. In nano-dollars."""
    wait_ms: int | None = None
    """How long a run may wait, be queued, or make no progress."""
    times: int | None = None
    """`loop`: repetitions of one call. `failure_rate`: ended runs before the rule is judged."""
    fraction: float | None = None
    """`failure_rate`: share of ended runs that failed. `budget`: share of the amount that is spent."""
    window_ms: int | None = None


class AlertRule(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A rule, and what has come of it so far."""

    org: int
    rule_id: str
    number: int
    """Rises with each creation in the organisation."""
    name: str
    trigger: AlertTrigger
    created_at: int
    scope: AlertScope = AlertScope()
    config: AlertConfig = AlertConfig()
    channels: tuple[AlertChannel, ...] = ()
    enabled: bool = True
    cooldown_ms: int = 0
    """So long the rule opens no further alert about the same agent; 0: it opens each one."""
    renotify_ms: int = 0
    """While an alert lasts, people are told again after so long; 0: they are not."""
    act: AlertAct | None = None
    created_by: str | None = None
    """A user id."""
    key_id: str = ""
    """Of the key that made it."""
    quiet: dict[str, int] = {}
    """Agent → when the rule has opened its last alert about it, in the server's steady time; for a cool-down alone."""
    suppressed: int = 0
    """Alerts that a cool-down has kept from being opened."""
    suppressed_at: int = 0
    """When that was last."""
    window_state: AlertState | None = None
    """Of a rule about a window, as it was found last."""

    def goes_by_time(self) -> bool:
        """Whether the timer looks at it: for what opens or ends without an event, or is told again."""
        return self.trigger not in FACTS or self.renotify_ms > 0

    def is_quiet(self, agent: str, now_ms: int) -> bool:
        """Whether its cool-down keeps it from telling of this agent, in steady time.

        That of another node, or of a process before this one, may be somewhat ahead; by more, its clock was wrong.
        """
        told_at = self.quiet.get(agent)
        return told_at is not None and abs(now_ms - told_at) < self.cooldown_ms

    def keeps_quiet(self, now_ms: int) -> bool:
        """Whether its cool-down keeps it from telling of some agent: of what no agent has just done it tells later."""
        return any(self.is_quiet(agent, now_ms) for agent in self.quiet)

    def told_of(self, agent: str, now_ms: int) -> AlertRule:
        """After it has opened an alert about this agent."""
        if not self.cooldown_ms:
            return self
        kept = {name: at for name, at in self.quiet.items() if name != agent and now_ms < at + self.cooldown_ms}
        kept[agent] = now_ms
        while len(kept) > MAX_QUIET_AGENTS or len(_encode(kept)) > MAX_QUIET_BYTES:
            del kept[next(iter(kept))]
        return msgspec.structs.replace(self, quiet=kept)

    def state(self, is_open: bool) -> AlertState:
        """What it shows; `is_open`: some alert of it lasts."""
        if is_open:
            return AlertState.ALERT
        return self.window_state or AlertState.OK


class AlertRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One episode of a rule about one subject: from when it fired to when that was over."""

    org: int
    alert_id: str
    rule_id: str
    subject: str
    """`run:` and its id, `budget:` and its id, or `rule` for what the rule adds up."""
    episode: int
    """1, 2, 3 … of the rule about this subject."""
    rule_name: str
    trigger: AlertTrigger
    state: AlertState
    fired_at: int
    message: str
    """For people: what is the matter."""
    number: int = 0
    """Rises with each alert of the organisation; given by the store."""
    agent: str | None = None
    run: int | None = None
    """The run's number."""
    run_id: str | None = None
    thread_id: str | None = None
    status: str | None = None
    """The run's, when it fired."""
    cost_nanos: int | None = None
    total_tokens: int | None = None
    mark: int = 0
    """What its condition began with, such as a budget's period: another one is another episode. 0: none is known."""
    wait_ms: int = 0
    """How long the rule let it last when it fired."""
    acted: AlertAct | None = None
    approval_id: str | None = None
    """What a person has to answer so that it is over."""
    ended_at: int | None = None
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    muted_until: int | None = None
    told_at: int = 0
    """When people were told last."""
    not_sent: int = 0
    """Messages about it that are not kept, since too many of the organisation's waited."""
    position: int = 0
    """Of the newest event of the organisation's log when it changed last."""

    @property
    def is_open(self) -> bool:
        """Whether it lasts."""
        return self.state is AlertState.ALERT

    def is_of(self, mark: int) -> bool:
        """Whether its condition is the one that began with this, as far as is known: those of runs had no mark once."""
        return self.mark == mark or (not self.mark and self.trigger in BY_TIME)

    def is_muted(self, now_ms: int) -> bool:
        """Whether nobody is to be told of it now."""
        return self.muted_until is not None and now_ms < self.muted_until


class WindowCount(NamedTuple):
    """What happened in a minute, in the scope of a rule that looks at a window."""

    runs: int = 0
    """Runs that ended."""
    failed: int = 0
    """Runs that failed or were lost, out of `runs`."""
    spent_nanos: int = 0

    def plus(self, more: WindowCount) -> WindowCount:
        """Both together."""
        return WindowCount(self.runs + more.runs, self.failed + more.failed, summed(self.spent_nanos, more.spent_nanos))


RULE_SUBJECT = "rule"


def run_subject(run_id: str) -> str:
    """The subject of an alert about a run."""
    return f"run:{run_id}"


def budget_subject(budget_id: str) -> str:
    """The subject of an alert about a budget."""
    return f"budget:{budget_id}"


# Commands and questions


class CreateRule(msgspec.Struct, frozen=True, gc=False):
    """Make a rule. `secrets` of channels: what the caller chose; a webhook without one gets one."""

    name: str
    trigger: AlertTrigger
    scope: AlertScope
    config: AlertConfig
    channels: tuple[AlertChannel, ...]
    enabled: bool = True
    cooldown_ms: int = 0
    renotify_ms: int = 0
    act: AlertAct | None = None


class ChangeRule(msgspec.Struct, frozen=True, gc=False):
    """Change a rule; what is None stays. `toggles`: it is switched on if it was off, and the other way round."""

    rule_id: str
    name: str | None = None
    scope: AlertScope | None = None
    config: AlertConfig | None = None
    channels: tuple[AlertChannel, ...] | None = None
    enabled: bool | None = None
    toggles: bool = False
    cooldown_ms: int | None = None
    renotify_ms: int | None = None
    act: AlertAct | None = None
    acts_no_more: bool = False


class DeleteRule(msgspec.Struct, frozen=True, gc=False):
    """Delete a rule. Its alerts stay; what is on its way is still delivered, but for what had to be signed."""

    rule_id: str


class AcknowledgeAlert(msgspec.Struct, frozen=True, gc=False):
    """Say that somebody has seen to an alert: nobody is reminded of it any more."""

    alert_id: str


class MuteAlert(msgspec.Struct, frozen=True, gc=False):
    """Tell nobody of an alert, and of further ones of its rule about the same subject, for so long; 0 ends that."""

    alert_id: str
    mute_ms: int


class ListRules(msgspec.Struct, frozen=True, gc=False):
    """Rules, newest first. `before` is the number of the last one seen."""

    limit: int
    before: int | None = None


class GetRule(msgspec.Struct, frozen=True, gc=False):
    """One rule."""

    rule_id: str


class ListAlerts(msgspec.Struct, frozen=True, gc=False):
    """Alerts, newest first; of a rule, and in a state, where these are given."""

    limit: int
    before: int | None = None
    rule_id: str | None = None
    state: AlertState | None = None


class GetAlert(msgspec.Struct, frozen=True, gc=False):
    """One alert."""

    alert_id: str


# Outcomes


class RuleNow(msgspec.Struct, frozen=True, gc=False):
    """An alert rule; `created`: whether this command created it."""

    rule: AlertRule
    created: bool = False
    open_alerts: int = 0
    """Only where rules are read."""
    new_secrets: dict[str, str] = {}
    """Target of a webhook → its secret, where this command has given it one: told once."""
    warnings: list[FieldWarning] = []
    """Channels by which nobody is ever told."""


class AlertNow(msgspec.Struct, frozen=True, gc=False):
    """An alert."""

    alert: AlertRow
