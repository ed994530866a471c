"""What people are told is the matter, and when it is: the same words and figures for a rule and for a trial of it."""

from __future__ import annotations

from towerlog.engine.alerts.messages import MAX_MESSAGE_CHARS
from towerlog.model.alert import (
    DEFAULT_TIMES,
    DEFAULT_WINDOW_MINUTES,
    MINUTE_MS,
    AlertRule,
    AlertState,
    AlertTrigger,
    WindowCount,
)
from towerlog.model.budget import dollars_text
from towerlog.model.run import RunRow, Status
from towerlog.projections.alerts.conditions import burn_state, failure_state

ENDS = {Status.FAILED: AlertTrigger.ERROR, Status.LOST: AlertTrigger.LOST}
"""Statuses that some trigger is about."""
MAX_TOOL_CHARS = 100


def told_of_end(row: RunRow) -> str:
    """Of a run that has failed, or was lost."""
    what = "was lost" if row.status is Status.LOST else "has failed"
    reason = f": {row.error}" if row.error else ""
    return f"A run of agent '{row.agent or 'default'}' {what}{reason}"[:MAX_MESSAGE_CHARS]


def told_of_cost(row: RunRow) -> str:
    """Of a run that has cost too much."""
    return f"A run of agent '{row.agent or 'default'}' has cost ${dollars_text(row.usage.cost_nanos or 0)}"


def told_of_loop(row: RunRow, tool: str | None, times: int | None) -> str:
    """Of a run that calls the same tool again and again; `tool` None: one that is not known by now."""
    called = "a tool" if tool is None else f"'{tool[:MAX_TOOL_CHARS]}'"
    return (
        f"A run of agent '{row.agent or 'default'}' calls {called} with the same arguments again and again "
        f"({times or DEFAULT_TIMES} times, or in turn with another call)"
    )


def window_ms_of(rule: AlertRule) -> int:
    """How far a rule looks back that adds up."""
    return rule.config.window_ms or DEFAULT_WINDOW_MINUTES * MINUTE_MS


def window_state(rule: AlertRule, counted: WindowCount) -> AlertState:
    """ALERT, OK or NO_DATA of a rule about a window."""
    if rule.trigger is AlertTrigger.FAILURE_RATE:
        return failure_state(counted.runs, counted.failed, rule.config)
    return burn_state(counted.spent_nanos, rule.config)


def told_of_window(rule: AlertRule, counted: WindowCount) -> str:
    """Of too much in a window."""
    minutes = window_ms_of(rule) // MINUTE_MS
    if rule.trigger is AlertTrigger.FAILURE_RATE:
        return f"{counted.failed} of {counted.runs} runs that ended in the last {minutes} minutes have failed"
    return f"${dollars_text(counted.spent_nanos)} was spent in the last {minutes} minutes"
