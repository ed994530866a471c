"""Native endpoints of usage: tokens, money and counts by hour, agent or model."""

from __future__ import annotations

from typing import Annotated, Literal

from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import bounded_text, invalid_field, time_ms_of
from towerlog.dialects.native import shapes
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, read_cursor, write_cursor
from towerlog.model.outcome import Page
from towerlog.model.principal import Scope
from towerlog.model.question import GetUsage
from towerlog.model.times import LATEST_MS, format_ms

READ = scopes(Scope.READ)


class UsageQuery(CursorQuery, frozen=True):
    """What to group by, and a filter for the cells."""

    by: Annotated[Literal["hour", "agent", "model"], v.said("What to add up by.", "hour")] = "hour"
    since: v.Since | None = None
    until: v.Until | None = None
    agent: v.AgentName | None = None
    model: v.ModelName | None = None


class UsageListing(Listing[shapes.UsageTotal], frozen=True):
    """A page of sums, and the time that they are over."""

    since: Annotated[str, v.said("The sums begin with this hour.", "2026-04-01T00:00:00.000Z", format="date-time")]
    until: Annotated[str, v.said("The sums end before this hour.", "2026-04-08T00:00:00.000Z", format="date-time")]


def _decode_usage(call: Call) -> GetUsage:
    by = call.query.get("by") or "hour"
    if by not in ("hour", "agent", "model"):
        raise invalid_field("by", "must be one of hour, agent, model")
    return GetUsage(
        by=by,
        limit=limit_of(call),
        since=time_ms_of(call.query.get("since"), "since"),
        until=time_ms_of(call.query.get("until"), "until"),
        agent=agent_asked(call.query.get("agent"), "agent"),
        model=bounded_text(call.query.get("model"), "model"),
        after=read_cursor(f"usage-{by}", call.query.get("cursor")),
    )


def _encode_usage(outcome: Page, command: GetUsage, call: Call) -> Reply:
    assert outcome.span is not None
    since, until = outcome.span
    rows = [shapes.usage_of(row, command.by) for row in outcome.rows]  # type: ignore[arg-type]  # GetUsage gives those
    following = write_cursor(f"usage-{command.by}", outcome.next)
    return reply_json(UsageListing(rows, following, format_ms(since), format_ms(min(until, LATEST_MS))))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/usage", "get_usage", "Tokens, money and counts by hour, agent or model.", READ,
        _decode_usage, _encode_usage, query=UsageQuery, reply=UsageListing,
    ),
)  # fmt: skip
"""The endpoints of usage."""
