"""Usage grouped for people: roll-up cells added up by hour, agent or model, in the store."""

from __future__ import annotations

from towerlog.engine.queries.context import QueryContext
from towerlog.errors import Invalid
from towerlog.model.outcome import Page
from towerlog.model.principal import Principal
from towerlog.model.question import GetUsage
from towerlog.model.usage import UsageRow
from towerlog.projections.usage import HOUR_MS
from towerlog.store.values import UsageSpan

DEFAULT_SPAN_HOURS = 24 * 7
MAX_SPAN_HOURS = 24 * 366
_HOUR_DIGITS = 12


async def answer(source: QueryContext, principal: Principal, wanted: GetUsage) -> Page:
    """Groups in the order of their name (or hour). Raises Invalid for a span of more than a year."""
    until = -(-wanted.until // HOUR_MS) if wanted.until is not None else source.clock.now_ms() // HOUR_MS + 1
    since = wanted.since // HOUR_MS if wanted.since is not None else until - DEFAULT_SPAN_HOURS
    if until - since > MAX_SPAN_HOURS:
        raise Invalid("since: is more than 366 days before the end", field="since")
    after: int | str | None = wanted.after
    if wanted.by == "hour" and wanted.after is not None:
        after = _hour_of(wanted.after)
    span = UsageSpan(since, until, wanted.agent, wanted.model, after)
    rows = await source.store.usage_by(principal.org, wanted.by, span, wanted.limit + 1)
    page = rows[: wanted.limit]
    more = _key_of(page[-1], wanted.by) if len(rows) > wanted.limit else None
    return Page(page, more, (since * HOUR_MS, until * HOUR_MS))


def _hour_of(key: str) -> int:
    """The hour of a page's key. Raises Invalid."""
    if not (key.isascii() and key.isdigit() and len(key) == _HOUR_DIGITS):
        raise Invalid("cursor: is not a cursor of this list", field="cursor")
    return int(key)


def _key_of(row: UsageRow, by: str) -> str:
    """What the next page begins after."""
    match by:
        case "agent":
            return row.agent
        case "model":
            return row.model
        case _:
            return f"{row.hour:0{_HOUR_DIGITS}d}"
