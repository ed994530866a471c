"""API keys, read back."""

from __future__ import annotations

from towerlog.engine.queries.context import QueryContext
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.principal import Principal


async def answer(source: QueryContext, principal: Principal, command: q.ListKeys) -> o.Outcome:
    """A page of keys, newest first."""
    keys = await source.store.keys(principal.org, command.limit + 1, command.before)
    more = len(keys) > command.limit
    return o.Page(keys[: command.limit], keys[command.limit - 1].key_id if more else None)
