"""Policies of retention, read back."""

from __future__ import annotations

from typing import assert_never

from towerlog.engine.queries.context import QueryContext
from towerlog.errors import NotFound
from towerlog.model.principal import Principal
from towerlog.model.retention import GetRetention, ListRetention, Policies, RetentionNow, RetentionRead


async def answer(source: QueryContext, principal: Principal, command: RetentionRead) -> Policies | RetentionNow:
    """One policy, or all. Raises NotFound."""
    found = [RetentionNow(row) for row in await source.store.policies_of(principal.org)]
    match command:
        case ListRetention():
            return Policies(found)
        case GetRetention(kind):
            wanted = next((one for one in found if one.row.kind is kind), None)
            if wanted is None:
                raise NotFound("retention policy")
            return wanted
        case _:
            assert_never(command)
