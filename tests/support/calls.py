"""Calls as a dialect sees them, without a server: for tests of decoders and encoders."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from towerlog.dialects.base import Call, Dialect, DialectSettings, Endpoint, Reply
from towerlog.errors import TowerlogError
from towerlog.model.principal import Principal, Scope

T = TypeVar("T")

PRINCIPAL = Principal(1, "org", "user", "key", frozenset({Scope.ADMIN}))
NOW_MS = 1_700_000_000_000


def make_call(
    body: Any = b"", *, query: dict[str, str] | None = None, settings: DialectSettings | None = None, **path: str
) -> Call:
    """A call with this body (bytes as they are, anything else as JSON) and these path parameters."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(PRINCIPAL, path, query or {}, {}, raw, settings or DialectSettings(), "trace", NOW_MS)


def endpoint_of(dialect: Dialect, method: str, path: str) -> Endpoint:
    """The one endpoint of a dialect at this method and path."""
    [found] = [one for one in dialect.endpoints if (one.method, one.path) == (method, path)]
    return found


def body_of(reply: Reply) -> Any:
    """A reply's JSON."""
    return json.loads(reply.body)


def tried(act: Callable[[], T]) -> T | TowerlogError:
    """What an act gives, or the error of ours that it ends with; any other error is a defect."""
    try:
        return act()
    except TowerlogError as error:
        return error
