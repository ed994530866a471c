"""Usage grouped for people: roll-up cells added up by hour, agent or model."""

from __future__ import annotations

import msgspec

from towerlog.engine.queries.context import QueryContext
from towerlog.errors import Invalid
from towerlog.model.outcome import Page
from towerlog.model.principal import Principal
from towerlog.model.question import GetUsage
from towerlog.model.usage import UsageRow
from towerlog.projections.usage import HOUR_MS, merge

DEFAULT_SPAN_HOURS = 24 * 7
MAX_SPAN_HOURS = 24 * 366


async def answer(source: QueryContext, principal: Principal, wanted: GetUsage) -> Page:
    """Groups in the order of their name (or hour). Raises Invalid for a span of more than a year."""
    until = -(-wanted.until // HOUR_MS) if wanted.until is not None else source.clock.now_ms() // HOUR_MS + 1
    since = wanted.since // HOUR_MS if wanted.since is not None else until - DEFAULT_SPAN_HOURS
    if until - since > MAX_SPAN_HOURS:
        raise Invalid("since: is more than 366 days before the end", field="since")
    cells = await source.store.usage(principal.org, since, until, wanted.agent, wanted.model)
    groups: dict[str, UsageRow] = {}
    for cell in cells:
        name, plain = _group(cell, wanted.by)
        groups[name] = merge(groups[name], plain) if name in groups else plain
    names = [name for name in sorted(groups) if wanted.after is None or name > wanted.after]
    page = names[: wanted.limit]
    more = page[-1] if len(names) > wanted.limit else None
    return Page([groups[name] for name in page], more, (since * HOUR_MS, until * HOUR_MS))


def _group(cell: UsageRow, by: str) -> tuple[str, UsageRow]:
    if by == "agent":
        return cell.agent, msgspec.structs.replace(cell, hour=0, model="", status="")
    if by == "model":
        return cell.model, msgspec.structs.replace(cell, hour=0, agent="", status="")
    return f"{cell.hour:012d}", msgspec.structs.replace(cell, agent="", model="", status="")
