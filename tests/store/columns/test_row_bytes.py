"""Rows of agents, threads, budgets, rules, alerts, lanes, members and roll-ups have bounds in bytes.

That of a run is in `tests/model/test_row_bounds.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.tables import table
from towerlog.egress.notices.webhooks import MAX_SECRET_BYTES, MAX_SECRETS
from towerlog.engine.alerts.messages import MAX_MESSAGE_CHARS
from towerlog.model.agent import MAX_AGENT_BYTES, AgentRow
from towerlog.model.alert import (
    MAX_ALERT_BYTES,
    MAX_QUIET_AGENTS,
    MAX_QUIET_BYTES,
    MAX_RULE_BYTES,
    AlertAct,
    AlertConfig,
    AlertRow,
    AlertRule,
    AlertScope,
    AlertState,
    AlertTrigger,
)
from towerlog.model.alert_channel import (
    MAX_CHANNELS,
    MAX_CHANNELS_BYTES,
    AlertChannel,
    ChannelSecret,
    ChannelType,
)
from towerlog.model.budget import (
    MAX_BUDGET_BYTES,
    MAX_COUNTED_HOLDERS,
    MAX_LET_GO,
    BudgetAction,
    BudgetRow,
    BudgetScope,
    BudgetStep,
    Period,
    PeriodCount,
)
from towerlog.model.lane import MAX_LABELS_BYTES, MAX_LANE_BYTES, MAX_SERVED_BYTES, Lane, QueueState, Served
from towerlog.model.member import MAX_MEMBER_BYTES
from towerlog.model.principal import Role, User
from towerlog.model.run import MAX_OPEN_RUNS, MAX_THREAD_QUEUE
from towerlog.model.thread import MAX_PROCESS_BYTES, MAX_PROCESSES, MAX_THREAD_BYTES, CostPlace, ThreadRow
from towerlog.model.usage import MAX_CELL_BYTES, MAX_SUM, Usage, UsageRow
from towerlog.projections.budgets import MAX_AHEAD
from towerlog.store.columns.people import user_row
from towerlog.store.columns.rows import agent_row, lane_row, thread_row, usage_row
from towerlog.store.columns.state import alert_row, budget_row, rule_row

NAME = "\U0001f4bc" * 200
"""A name or an id: 200 characters, none of them a control character."""
TEXT = "\x01"
"""A character that takes six bytes as JSON."""
UUID = "0" * 36
TIME = 10**13 - 1
RUN = 2**62
MOST = Usage(*[MAX_SUM] * 9)
URL = "https://hooks.example.com/" + "x" * 2022
SECRETS = tuple(ChannelSecret("whsec_" + "x" * (MAX_SECRET_BYTES * 4 // 3 + 4), TIME) for _ in range(MAX_SECRETS))
PERIOD = PeriodCount(TIME, MAX_SUM, True, True, MAX_SUM, MAX_SUM)

LONGEST: dict[str, tuple[type, dict[str, Any], Callable[[Any], tuple[Any, ...]], int]] = {
    "agent": (
        AgentRow,
        {
            "agent": RUN, "org": RUN, "agent_id": UUID, "name": NAME, "created_at": TIME, "run_count": RUN,
            "event_count": RUN, "error_count": RUN, "usage": MOST, "price_version": "v" * 100, "last_event_at": TIME,
            "last_heartbeat_at": TIME,
        },
        agent_row,
        MAX_AGENT_BYTES,
    ),
    "thread": (
        ThreadRow,
        {
            "org": RUN, "thread_id": NAME, "created_at": TIME, "title": TEXT * 200, "run_count": RUN,
            "newest_run": RUN, "newest_parentless": RUN, "open_runs": (RUN,) * MAX_OPEN_RUNS,
            "lane_runs": (RUN,) * MAX_THREAD_QUEUE, "updated_at": TIME, "policy": "cancel_previous",
            "process_costs": {f"{n:02}".ljust(MAX_PROCESS_BYTES // MAX_PROCESSES, "p"): MAX_SUM for n in range(32)},
            "cost_places": {"p" * 800: (CostPlace(MAX_SUM, MAX_SUM, RUN, NAME, 9, NAME, "running", TIME, TIME, 9),)},
            "erased_at": TIME,
        },
        thread_row,
        MAX_THREAD_BYTES,
    ),
    "budget": (
        BudgetRow,
        {
            "org": RUN, "budget_id": UUID, "number": RUN, "name": NAME, "scope": BudgetScope(thread_id=NAME),
            "amount_nanos": MAX_SUM, "period": Period.MONTH, "action": BudgetAction.CANCEL, "warn_at": 0.1234567890123,
            "warn_nanos": MAX_SUM, "created_at": TIME, "created_by": UUID, "key_id": UUID, "period_start": TIME,
            "spent_nanos": MAX_SUM, "aside": (PERIOD,) * (MAX_AHEAD + 1), "begun_at": TIME, "begun_nanos": MAX_SUM,
            "reserved_nanos": MAX_SUM, "held_by": {f"{n:036}": MAX_SUM for n in range(MAX_COUNTED_HOLDERS)},
            "let_go": (RUN,) * MAX_LET_GO,
            "kept_nanos": MAX_SUM, "unpriced_calls": RUN, "warning_told": True,
            "exceeded_told": True, "step": BudgetStep.RESUME, "step_after": RUN,
            "has_paused": True, "refused_since": TIME, "refusals_told": RUN, "deleted": True,
        },
        budget_row,
        MAX_BUDGET_BYTES,
    ),
    "rule": (
        AlertRule,
        {
            "org": RUN, "rule_id": UUID, "number": RUN, "name": NAME, "trigger": AlertTrigger.WAITING_TOO_LONG,
            "created_at": TIME, "scope": AlertScope(NAME, NAME, UUID, TEXT * 400, TEXT * 200),
            "config": AlertConfig(MAX_SUM, TIME, 50, 0.1234567890123, TIME),
            "channels": tuple(
                AlertChannel(ChannelType.WEBHOOK, f"{n}{URL}", SECRETS) for n in range(MAX_CHANNELS)
            ),
            "enabled": False, "cooldown_ms": TIME, "renotify_ms": TIME, "act": AlertAct.CANCEL, "created_by": UUID,
            "key_id": UUID,
            "quiet": {f"{n:03}".ljust(MAX_QUIET_BYTES // MAX_QUIET_AGENTS - 17, "a"): TIME for n in range(500)},
            "suppressed": RUN, "suppressed_at": TIME, "window_state": AlertState.NO_DATA,
        },
        rule_row,
        MAX_RULE_BYTES,
    ),
    "alert": (
        AlertRow,
        {
            "org": RUN, "alert_id": UUID, "rule_id": UUID, "subject": "budget:" + UUID, "episode": RUN,
            "rule_name": NAME, "trigger": AlertTrigger.WAITING_TOO_LONG, "state": AlertState.NO_DATA,
            "fired_at": TIME, "message": TEXT * MAX_MESSAGE_CHARS, "number": 0, "agent": NAME, "run": RUN,
            "run_id": UUID, "thread_id": NAME, "status": "budget_exceeded", "cost_nanos": MAX_SUM,
            "total_tokens": MAX_SUM, "mark": TIME, "wait_ms": TIME,
            "acted": AlertAct.CANCEL, "approval_id": UUID + "." + "9" * 40,
            "ended_at": TIME, "acknowledged_at": TIME, "acknowledged_by": UUID, "muted_until": TIME, "told_at": TIME,
            "not_sent": RUN, "position": RUN,
        },
        alert_row,
        MAX_ALERT_BYTES,
    ),
    "lane": (
        Lane,
        {
            "run": RUN, "org": RUN, "state": QueueState.BLOCKED, "agent": NAME, "queued_at": TIME,
            "labels": {f"{n:02}" + "l" * 58: "v" * 61 for n in range(MAX_LABELS_BYTES // 127)},
            "queue_position": RUN, "worker_id": NAME, "key_id": UUID, "released_by": NAME, "epoch": RUN,
            "attempt": RUN, "lease_ms": 3_600_000, "claimed_at": TIME, "expires_at": TIME, "last_heartbeat": TIME,
            "reported": True, "phase": TEXT * 200, "log_line": TEXT * 2000,
            "serves": Served(("a" * (MAX_SERVED_BYTES - 16),)),
        },
        lane_row,
        MAX_LANE_BYTES,
    ),
    "member": (
        User,
        {
            "org": RUN, "user_id": UUID, "name": NAME, "email": NAME, "created_at": TIME, "role": Role.ADMIN,
            "password": "p" * 256, "subject": "https://" + "i" * 2000 + " " + "\U0001f4bc" * 255, "removed_at": TIME,
        },
        user_row,
        MAX_MEMBER_BYTES,
    ),
    "usage cell": (
        UsageRow,
        {
            "org": RUN, "hour": RUN, "agent": NAME, "model": NAME, "status": "waiting_for_input", "events": RUN,
            "runs_started": RUN, "runs_ended": RUN, "usage": MOST, "price_version": "v" * 100,
        },
        usage_row,
        MAX_CELL_BYTES,
    ),
}  # fmt: skip
"""Of each kind of row its type, every member as long as it may be, what it is stored as, and what that may have."""


def stored_bytes(row: tuple[Any, ...]) -> int:
    """Of its columns; a number takes 8 at most."""
    found = 0
    for value in row:
        found += len(value.encode()) if isinstance(value, str) else len(value) if isinstance(value, bytes) else 8
    return found


@table("kind", LONGEST)
def test_no_row_is_longer_than_is_said(kind: str) -> None:
    type_, members, stored, most = LONGEST[kind]
    assert set(members) == set(type_.__struct_fields__), "a new member has to be as long as it may be here"
    assert 0.6 * most < stored_bytes(stored(type_(**members))) <= most


def test_the_agents_of_which_a_rule_is_quiet_are_bounded_in_bytes() -> None:
    rule = AlertRule(1, UUID, 1, "r", AlertTrigger.ERROR, 1, cooldown_ms=TIME)
    for number in range(MAX_QUIET_AGENTS):
        agent = f"{number}" + NAME[3:]
        rule = rule.told_of(agent, 1)
        assert list(rule.quiet)[-1] == agent
    assert 10 < len(rule.quiet) < 50
    channels = tuple(AlertChannel(ChannelType.WEBHOOK, URL) for _ in range(MAX_CHANNELS))
    assert sum(len(one.target) for one in channels) < MAX_CHANNELS_BYTES
