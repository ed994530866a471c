"""The registry: personas and routes by their versions, made once and never changed."""

from __future__ import annotations

import msgspec

from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import Conflict
from towerlog.model.outcome import PersonaView, RouteView
from towerlog.model.persona import (
    CreatePersona,
    CreateRoute,
    Persona,
    ProviderRoute,
    split_persona_id,
)
from towerlog.model.principal import Principal
from towerlog.store.values import Kind


def needs_of_persona(needs: Needs, principal: Principal, command: CreatePersona) -> None:
    """The version, if it is there."""
    needs.want(Kind.PERSONA, (principal.org, command.persona_key, command.version or ""))


def needs_of_route(needs: Needs, principal: Principal, command: CreateRoute) -> None:
    """The newest version."""
    needs.want(Kind.ROUTE, (principal.org, command.route_id))


def create_persona(plan: Plan, principal: Principal, command: CreatePersona) -> PersonaView:
    """A new version; the same content again: the one that is there. Raises Conflict for other content."""
    asked = Persona(
        org=principal.org,
        persona_key=command.persona_key,
        version=command.version,
        agent=command.agent,
        created_at=plan.now_ms,
        instructions=command.instructions,
        model_settings=msgspec.Raw(command.model_settings),
        tools=command.tools,
        budget=command.budget,
    )
    known = persona_of(plan, principal.org, asked.persona_id)
    if known is None:
        plan.changes.personas.append(asked)
        return PersonaView(asked, created=True)
    if not known.has_same_content(asked):
        raise Conflict(f"Persona {asked.persona_id!r} exists with other content. Give it a new version.")
    return PersonaView(known)


def create_route(plan: Plan, principal: Principal, command: CreateRoute) -> RouteView:
    """The route's next version; the newest one's content again: that one."""
    known = route_of(plan, principal.org, command.route_id)
    asked = ProviderRoute(
        org=principal.org,
        route_id=command.route_id,
        version=1 if known is None else known.version + 1,
        provider=command.provider,
        model=command.model,
        created_at=plan.now_ms,
        base_url=command.base_url,
        key_env=command.key_env,
    )
    if known is not None and known.has_same_content(asked):
        return RouteView(known)
    plan.changes.routes.append(asked)
    return RouteView(asked, created=True)


def persona_of(plan: Plan, org: int, persona_id: str) -> Persona | None:
    """The version that an id means, with what this group has made."""
    key, version = split_persona_id(persona_id)
    for made in reversed(plan.changes.personas):
        if (made.org, made.persona_key) == (org, key) and version in (None, made.version):
            return made
    stored: Persona | None = plan.loaded(Kind.PERSONA, (org, key, version or ""))
    return stored


def route_of(plan: Plan, org: int, route_id: str) -> ProviderRoute | None:
    """The newest version of a route, with what this group has made."""
    for made in reversed(plan.changes.routes):
        if (made.org, made.route_id) == (org, route_id):
            return made
    stored: ProviderRoute | None = plan.loaded(Kind.ROUTE, (org, route_id))
    return stored
