"""The audit, read back."""

from __future__ import annotations

from towerlog.engine.queries.context import QueryContext
from towerlog.model.audit import ListAudit
from towerlog.model.outcome import Page
from towerlog.model.principal import Principal


async def answer(source: QueryContext, principal: Principal, command: ListAudit) -> Page:
    """A page of entries, newest first. It may be empty and go on: what is looked through for a page is bounded."""
    found, following = await source.store.audit(principal.org, command.filter, command.limit, command.before)
    return Page(found, None if following is None else str(following))
