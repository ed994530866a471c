"""Native endpoints of personas and routes. Secrets are refused, so none is stored or shown."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_needed
from towerlog.dialects.base import MAX_ID_CHARS, MAX_LABEL_CHARS, Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import (
    NULL,
    JsonObject,
    cost_nanos_of,
    decode,
    invalid_field,
    one_line,
    path_id,
    text_id,
)
from towerlog.dialects.native import shapes
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_number
from towerlog.model.outcome import Page, PersonaView, RouteView
from towerlog.model.persona import (
    MAX_BASE_URL_CHARS,
    MAX_INSTRUCTIONS_BYTES,
    MAX_KEY_ENV_CHARS,
    MAX_MODEL_SETTINGS_BYTES,
    MAX_PERSONA_KEY_CHARS,
    MAX_TOOLS,
    MAX_VERSION_CHARS,
    VERSION_MARK,
    Budget,
    CreatePersona,
    CreateRoute,
    GetPersona,
    GetRoute,
    ListPersonas,
    ListRoutes,
)
from towerlog.model.principal import Scope
from towerlog.model.usage import MAX_NUMBER

READ = scopes(Scope.READ)
ADMIN = scopes()

_NAME_OF_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_VISIBLE = re.compile(r"[!-~]+")
_LIKE_A_SECRET = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:sk|pk|rk|xox[abp]|gh[pousr]|AKIA|AIza|ya29|eyJ|Bearer)[-_. ]?[A-Za-z0-9_\-]{16,}"
)
"""Prefixes of providers' keys: a field that begins with one is refused as a secret."""


def _null() -> msgspec.Raw:
    return NULL


Dollars = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["number", "null"], "minimum": 0})]


class BudgetBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that a run may use: dollars, tokens, or both."""

    usd: Annotated[Dollars, v.said("The most that the run may cost, in dollars.", 0.5)] = msgspec.field(
        default_factory=_null
    )
    tokens: (
        Annotated[Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)], v.said("The most tokens that it may use.", 20000)]
        | None
    ) = None


class PersonaBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a persona. `tools`: those that may be used; without it, whatever the agent has."""

    persona_key: v.PersonaKey
    version: Annotated[str, v.said("The version; one that is there cannot be changed.", "1")]
    agent: Annotated[str, v.said("The agent that runs as this persona.", "writer")]
    instructions: (
        Annotated[str, v.said("What the agent is told before anything else.", "Shorten. Never flatter.")] | None
    ) = None
    model_settings: Annotated[
        JsonObject, v.said("Settings of the model, as its provider names them.", {"temperature": 0.2})
    ] = msgspec.field(default_factory=_null)
    tools: (
        Annotated[
            Annotated[list[str], msgspec.Meta(max_length=MAX_TOOLS)],
            v.said("The tools that may be used; absent: all that the agent has.", ["search"]),
        ]
        | None
    ) = None
    budget: Annotated[BudgetBody, v.said("The most that a run may use.")] | None = None


class RouteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route. `key_env` is the name of the variable that holds the key where the worker runs."""

    route_id: v.RouteId
    provider: Annotated[str, v.said("The provider.", "openai")]
    model: v.ModelName
    base_url: Annotated[str, v.said("The address of the provider's API.", "https://api.openai.com/v1")] | None = None
    key_env: (
        Annotated[
            Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{_NAME_OF_VARIABLE.pattern}$"})],
            v.said("The environment variable that holds the provider's key where the worker runs.", "OPENAI_API_KEY"),
        ]
        | None
    ) = None


_PERSONA_BODY = msgspec.json.Decoder(PersonaBody)
_ROUTE_BODY = msgspec.json.Decoder(RouteBody)
_ANY_OBJECT = msgspec.json.Decoder(dict[str, Any])


def _decode_persona(call: Call) -> CreatePersona:
    body = decode(_PERSONA_BODY, call.body)
    instructions = body.instructions or None
    if instructions is not None and len(instructions.encode()) > MAX_INSTRUCTIONS_BYTES:
        raise invalid_field("instructions", f"is longer than {MAX_INSTRUCTIONS_BYTES} bytes")
    return CreatePersona(
        persona_key=_unmarked(body.persona_key, "persona_key", MAX_PERSONA_KEY_CHARS),
        version=_unmarked(body.version, "version", MAX_VERSION_CHARS),
        agent=agent_needed(body.agent, "agent"),
        instructions=instructions,
        model_settings=_settings(body.model_settings, call),
        tools=None if body.tools is None else tuple(text_id(tool, "tools", MAX_LABEL_CHARS) for tool in body.tools),
        budget=None if body.budget is None else _budget(body.budget),
    )


def _unmarked(value: str, field: str, longest: int) -> str:
    """A part of `key@version`; it must not contain an `@` itself."""
    if VERSION_MARK in value:
        raise invalid_field(field, f"must not hold {VERSION_MARK!r}, which stands between key and version")
    return text_id(value, field, longest)


def _settings(raw: msgspec.Raw, call: Call) -> bytes:
    if bytes(raw) == b"null":
        return b"{}"
    text = one_line(raw, "model_settings", call.settings.max_depth, MAX_MODEL_SETTINGS_BYTES)
    # Versions are compared by value, so every value must decode: a number such as 1e999 is refused here.
    decode(_ANY_OBJECT, text, "model_settings")
    return text


def _budget(body: BudgetBody) -> Budget | None:
    cost_nanos = cost_nanos_of(body.usd, "budget.usd")
    if cost_nanos is not None and cost_nanos < 0:
        raise invalid_field("budget.usd", "must not be less than 0")
    return None if cost_nanos is None and body.tokens is None else Budget(cost_nanos, body.tokens)


def _decode_route(call: Call) -> CreateRoute:
    body = decode(_ROUTE_BODY, call.body)
    if VERSION_MARK in body.route_id:
        raise invalid_field("route_id", f"must not hold {VERSION_MARK!r}: the server numbers a route's versions")
    command = CreateRoute(
        route_id=text_id(body.route_id, "route_id", MAX_ID_CHARS),
        provider=text_id(body.provider, "provider", MAX_LABEL_CHARS),
        model=_model(body.model),
        base_url=_base_url(body.base_url),
        key_env=_key_env(body.key_env),
    )
    # `key_env` is checked by its own rule.
    for field in ("route_id", "provider", "model", "base_url"):
        if _LIKE_A_SECRET.search(getattr(command, field) or ""):
            raise invalid_field(field, "looks like a key; a route names the variable that holds it, in key_env")
    return command


def _model(value: str) -> str:
    """Models of some providers have a slash in their name."""
    # The rules of an id apply but for the slash.
    text_id(value.replace("/", "-"), "model", MAX_LABEL_CHARS)
    return value


def _base_url(value: str | None) -> str | None:
    if not value:
        return None
    if len(value) > MAX_BASE_URL_CHARS:
        raise invalid_field("base_url", f"is longer than {MAX_BASE_URL_CHARS} characters")
    if not _VISIBLE.fullmatch(value) or "\\" in value:
        raise invalid_field("base_url", "must be a URL of visible ASCII characters")
    try:
        parts = urlsplit(value)
        # Both are parsed only when they are read, and may raise.
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise invalid_field("base_url", "is not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise invalid_field("base_url", "must begin with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise invalid_field("base_url", "must not hold a user or a password: name the key's variable in key_env")
    if "#" in value:
        raise invalid_field("base_url", "must not have a fragment")
    if "?" in value:
        raise invalid_field("base_url", "must not have a query, since queries often carry keys")
    return value


def _key_env(value: str | None) -> str | None:
    if not value:
        return None
    if len(value) > MAX_KEY_ENV_CHARS:
        raise invalid_field("key_env", f"is longer than {MAX_KEY_ENV_CHARS} characters")
    if not _NAME_OF_VARIABLE.fullmatch(value):
        raise invalid_field(
            "key_env", "must be the name of an environment variable, such as PROVIDER_API_KEY; never a key"
        )
    return value


def _encode_persona(outcome: PersonaView, command: object, call: Call) -> Reply:
    return reply_json(shapes.persona_of(outcome.persona), 201 if outcome.created else 200)


def _encode_route(outcome: RouteView, command: object, call: Call) -> Reply:
    return reply_json(shapes.route_of(outcome.route), 201 if outcome.created else 200)


def _decode_personas(call: Call) -> ListPersonas:
    return ListPersonas(limit_of(call), read_number("personas", call.query.get("cursor")) or None)


def _encode_personas(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("personas", outcome, shapes.persona_of)


def _decode_get_persona(call: Call) -> GetPersona:
    return GetPersona(path_id(call.path["persona_id"], "persona"))


def _decode_routes(call: Call) -> ListRoutes:
    return ListRoutes(limit_of(call), read_number("routes", call.query.get("cursor")) or None)


def _encode_routes(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("routes", outcome, shapes.route_of)


def _decode_get_route(call: Call) -> GetRoute:
    return GetRoute(path_id(call.path["route_id"], "route"))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/personas", "list_personas", "Versions of personas, newest first.", READ,
        _decode_personas, _encode_personas, query=CursorQuery, reply=Listing[shapes.PersonaDetail],
    ),
    Endpoint(
        "POST", "/api/v1/personas", "create_persona", "Create a version of a persona; versions never change.", ADMIN,
        _decode_persona, _encode_persona, request=PersonaBody, reply=shapes.PersonaDetail, reply_status=201,
        refuses=(errors.Conflict,),
    ),
    Endpoint(
        "GET", "/api/v1/personas/{persona_id}", "get_persona", "A version of a persona, or the newest by its key.",
        READ, _decode_get_persona, _encode_persona, reply=shapes.PersonaDetail,
    ),
    Endpoint(
        "GET", "/api/v1/routes", "list_routes", "Versions of routes, newest first.", READ,
        _decode_routes, _encode_routes, query=CursorQuery, reply=Listing[shapes.RouteDetail],
    ),
    Endpoint(
        "POST", "/api/v1/routes", "create_route", "Create a route, or its next version.", ADMIN,
        _decode_route, _encode_route, request=RouteBody, reply=shapes.RouteDetail, reply_status=201,
    ),
    Endpoint(
        "GET", "/api/v1/routes/{route_id}", "get_route", "A route's newest version.", READ,
        _decode_get_route, _encode_route, reply=shapes.RouteDetail,
    ),
)  # fmt: skip
"""The endpoints of personas and routes."""
