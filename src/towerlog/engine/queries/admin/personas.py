"""Personas and provider routes, read back."""

from __future__ import annotations

from typing import assert_never

from towerlog.engine.queries.context import QueryContext, page_of
from towerlog.errors import NotFound
from towerlog.model.outcome import Page, PersonaView, RouteView
from towerlog.model.persona import GetPersona, GetRoute, ListPersonas, ListRoutes, split_persona_id
from towerlog.model.principal import Principal


async def answer(
    source: QueryContext, principal: Principal, command: ListPersonas | GetPersona | ListRoutes | GetRoute
) -> Page | PersonaView | RouteView:
    """What is registered. Raises NotFound."""
    store, org = source.store, principal.org
    match command:
        case GetPersona(persona_id):
            persona = await store.persona(org, *split_persona_id(persona_id))
            if persona is None:
                raise NotFound("persona")
            return PersonaView(persona)
        case GetRoute(route_id):
            route = await store.route(org, route_id)
            if route is None:
                raise NotFound("route")
            return RouteView(route)
        case ListPersonas(limit, before):
            personas = await store.personas(org, limit + 1, before)
            page, more = page_of(personas, limit)
            return Page(page, str(page[-1].number) if more else None)
        case ListRoutes(limit, before):
            routes = await store.routes(org, limit + 1, before)
            found, more = page_of(routes, limit)
            return Page(found, str(found[-1].number) if more else None)
        case _:
            assert_never(command)
