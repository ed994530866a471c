"""Personas and routes as JSON: what a worker is given with a run, and what the lists show."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.usage import dollars_json


class BudgetView(msgspec.Struct, frozen=True, gc=False):
    """The most that a run may use; null: no bound of this kind."""

    usd: Annotated[
        msgspec.Raw,
        v.said("The most that the run may cost, in dollars; null: no such bound.", 0.5, type=["number", "null"]),
    ]
    tokens: Annotated[int, v.said("The most tokens that it may use; null: no such bound.", 20000)] | None


class PersonaJson(msgspec.Struct, frozen=True, gc=False):
    """The persona of a run."""

    schema_name: ClassVar[str] = "PersonaView"
    persona_id: v.PersonaId
    persona_key: v.PersonaKey
    version: Annotated[str, v.said("Its version.", "1")]
    agent: Annotated[str, v.said("The agent that runs as this persona.", "writer")]
    instructions: (
        Annotated[str, v.said("What the agent is told before anything else.", "Shorten. Never flatter.")] | None
    )
    model_settings: Annotated[
        msgspec.Raw,
        v.free_object("Settings of the model, as its provider names them.", {"temperature": 0.2}),
    ]
    tools: Annotated[list[str], v.said("The tools that may be used; null: all that the agent has.", ["search"])] | None
    budget: Annotated[BudgetView, v.said("The most that a run may use.")] | None


class RouteJson(msgspec.Struct, frozen=True, gc=False):
    """The provider and model of a run. `key_env` names the environment variable that holds the key."""

    schema_name: ClassVar[str] = "RouteView"
    route_id: v.RouteId
    provider: Annotated[str, v.said("The provider.", "openai")]
    model: v.ModelName
    base_url: Annotated[str, v.said("The address of the provider's API.", "https://api.openai.com/v1")] | None
    key_env: Annotated[str, v.said("The environment variable that holds the provider's key.", "OPENAI_API_KEY")] | None


def persona_view(persona: Persona) -> PersonaJson:
    """A version of a persona as JSON."""
    budget = persona.budget
    return PersonaJson(
        persona_id=persona.persona_id,
        persona_key=persona.persona_key,
        version=persona.version,
        agent=persona.agent,
        instructions=persona.instructions,
        model_settings=persona.model_settings,
        tools=None if persona.tools is None else list(persona.tools),
        budget=None if budget is None else BudgetView(dollars_json(budget.cost_nanos), budget.tokens),
    )


def route_view(route: ProviderRoute) -> RouteJson:
    """A version of a route as JSON."""
    return RouteJson(route.route_id, route.provider, route.model, route.base_url, route.key_env)
