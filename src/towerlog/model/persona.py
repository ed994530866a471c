"""Personas and routes: what a run is started as, and the provider and model it uses. A version never changes.

A persona names the agent that serves it, its instructions, settings, tools and budget. A route names a provider, a
model, and the *name* of the environment variable that holds the key; it must not hold a secret. The commands about them
are here as well; `model/command.py` has the whole set.
"""

from __future__ import annotations

import msgspec

from towerlog.model.agent import normal_name

VERSION_MARK = "@"
MAX_PERSONA_KEY_CHARS = 120
MAX_VERSION_CHARS = 64
MAX_INSTRUCTIONS_BYTES = 64 * 1024
MAX_MODEL_SETTINGS_BYTES = 64 * 1024
MAX_BASE_URL_CHARS = 2000
MAX_KEY_ENV_CHARS = 128
MAX_TOOLS = 256


class Budget(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The most that a run of a persona may use; None: no bound of this kind."""

    cost_nanos: int | None = None
    tokens: int | None = None


class Persona(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One version of a persona. The newest is the one with the highest `number`; the text of a version has no order."""

    org: int
    persona_key: str
    version: str
    agent: str
    """Name of the agent that serves its runs."""
    created_at: int
    instructions: str | None = None
    model_settings: msgspec.Raw = msgspec.Raw(b"{}")
    """JSON text of an object, as it was sent."""
    tools: tuple[str, ...] | None = None
    """The tools that may be used; None: whatever the agent has."""
    budget: Budget | None = None
    number: int = 0
    """Rises with each creation; given by the store."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "agent", normal_name(self.agent))

    @property
    def persona_id(self) -> str:
        """`key@version`."""
        return f"{self.persona_key}{VERSION_MARK}{self.version}"

    def has_same_content(self, other: Persona) -> bool:
        """Whether two versions have the same content; spacing and key order of their JSON do not count."""
        return self._content() == other._content()

    def _content(self) -> tuple[object, ...]:
        settings = msgspec.json.encode(msgspec.json.decode(self.model_settings), order="sorted")
        return self.agent, self.instructions, settings, self.tools, self.budget


class ProviderRoute(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One version of a route; the highest version is in force."""

    org: int
    route_id: str
    version: int
    provider: str
    model: str
    created_at: int
    base_url: str | None = None
    key_env: str | None = None
    """The name of an environment variable of the worker."""
    number: int = 0
    """Rises with each creation; given by the store."""

    def has_same_content(self, other: ProviderRoute) -> bool:
        """Whether two versions have the same content."""
        return self._content() == other._content()

    def _content(self) -> tuple[object, ...]:
        return self.provider, self.model, self.base_url, self.key_env


def split_persona_id(persona_id: str) -> tuple[str, str | None]:
    """Key and version of `key@version`. The version is None for a key alone, which means the newest one."""
    key, mark, version = persona_id.partition(VERSION_MARK)
    return key, version if mark else None


# Commands


class CreatePersona(msgspec.Struct, frozen=True, gc=False):
    """Create a version of a persona; the same content again is answered with the existing one."""

    persona_key: str
    version: str
    agent: str
    instructions: str | None = None
    model_settings: bytes = b"{}"
    """JSON text of an object."""
    tools: tuple[str, ...] | None = None
    budget: Budget | None = None


class CreateRoute(msgspec.Struct, frozen=True, gc=False):
    """Create a version of a route, unless the newest one has this content."""

    route_id: str
    provider: str
    model: str
    base_url: str | None = None
    key_env: str | None = None


class ListPersonas(msgspec.Struct, frozen=True, gc=False):
    """Versions of personas, newest first. `before` is the number of the last one seen."""

    limit: int
    before: int | None = None


class GetPersona(msgspec.Struct, frozen=True, gc=False):
    """One version; a key alone means its newest."""

    persona_id: str


class ListRoutes(msgspec.Struct, frozen=True, gc=False):
    """Versions of routes, newest first. `before` is the number of the last one seen."""

    limit: int
    before: int | None = None


class GetRoute(msgspec.Struct, frozen=True, gc=False):
    """The version of a route that is in force."""

    route_id: str
