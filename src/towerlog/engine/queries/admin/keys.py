"""API keys, members, their sessions and sign-in links, read back."""

from __future__ import annotations

from towerlog.engine.queries.context import QueryContext
from towerlog.errors import NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.member import ListMembers, ListSessions, ListSignInLinks
from towerlog.model.principal import Principal


async def answer(source: QueryContext, principal: Principal, command: q.ListKeys) -> o.Outcome:
    """A page of keys, newest first."""
    keys = await source.store.keys(principal.org, command.limit + 1, command.before)
    more = len(keys) > command.limit
    return o.Page(keys[: command.limit], keys[command.limit - 1].key_id if more else None)


async def answer_members(source: QueryContext, principal: Principal, command: ListMembers) -> o.Outcome:
    """A page of members, the last that was made first."""
    found = await source.store.members(principal.org, command.limit + 1, command.before)
    more = len(found) > command.limit
    return o.Page(found[: command.limit], found[command.limit - 1].user_id if more else None)


async def answer_links(source: QueryContext, principal: Principal, command: ListSignInLinks) -> o.Outcome:
    """A page of links that sign somebody in, the last that was made first."""
    now = source.clock.now_ms()
    found = await source.store.sign_in_links(principal.org, command.limit + 1, command.before, now)
    more = len(found) > command.limit
    return o.Page(found[: command.limit], found[command.limit - 1].link_id if more else None)


async def answer_sessions(source: QueryContext, principal: Principal, command: ListSessions) -> o.Outcome:
    """A page of sessions, the last that began first. Raises NotFound for a member that nobody knows: that it is signed
    in nowhere would be taken for an answer about somebody else, where an id is mistyped."""
    if command.user_id is not None and not await source.store.users(principal.org, [command.user_id]):
        raise NotFound("member")
    now, most = source.clock.now_ms(), command.limit + 1
    found = await source.store.sessions(principal.org, command.user_id, most, command.before, now)
    more = len(found) > command.limit
    return o.Page(found[: command.limit], found[command.limit - 1].session_id if more else None)
