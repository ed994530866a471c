"""The shape of a dialect: a table of endpoints, each a pure decoder and a pure encoder.

`asgi/gate.py` serves any dialect from this table alone. A dialect does no I/O, sees no clock and no request object:
`Call` is all it gets. The native API and the operator's pages declare their endpoints in the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from towerlog.errors import TowerlogError
from towerlog.model.command import Command
from towerlog.model.event import Event
from towerlog.model.principal import Principal, Scope

JSON = "application/json"
PLAIN_TEXT = "text/plain; charset=utf-8"
STATUSES: dict[str, int] = {
    "malformed": 400,
    "validation_failed": 422,
    "id_reused": 409,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "idempotency_mismatch": 422,
    "too_large": 413,
    "rate_limited": 429,
    "overloaded": 503,
    "storage_failed": 503,
    "internal": 500,
}
"""Error code → HTTP status, where a dialect's page does not say otherwise; a subclass has its parent's."""
MAX_LABEL = 200
MAX_ID = 200
LARGEST_PAGE = 200
USUAL_PAGE = 50


class DialectSettings(msgspec.Struct, frozen=True):
    """The few settings that a dialect's rules depend on; handed in with each call."""

    min_lease_seconds: int = 60
    max_event_bytes: int = 4 * 1024 * 1024
    max_depth: int = 128
    credits_per_dollar: int = 1000


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request as a dialect sees it: authenticated, admitted, decompressed, its path parameters percent-decoded."""

    principal: Principal
    path: Mapping[str, str]
    query: Mapping[str, str]
    """Last value wins; only the names the endpoint declares are of interest."""
    headers: Mapping[bytes, bytes]
    """Lower-case names."""
    body: bytes
    """UTF-8 text, checked, unless the endpoint's body is binary. For the decoder alone: encoders find it empty."""
    settings: DialectSettings
    trace_id: str
    now_ms: int


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A reply ready to be sent. `headers` come on top of those that every reply has."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class FrameStyle(msgspec.Struct, frozen=True):
    """How a stream's events become bytes.

    `frame` gives a whole SSE frame, or None for an event that has no place in this stream; `prologue` is sent at
    once; `closing` when the server ends a stream that has not come to its own end.
    """

    name: str
    frame: Callable[[Event, str], bytes | None]
    """(event, log epoch)"""
    prologue: bytes
    closing: bytes = b""


class Limit(msgspec.Struct, frozen=True):
    """A dialect's own rate limit. `setting` names the number per minute; `per` is `key` or `ip`."""

    setting: str
    per: str


class Sample(msgspec.Struct, frozen=True):
    """An example of an endpoint as JSON values: what a success answers, and what was sent for it."""

    reply: Any
    request: Any = None


BodyKind = Literal["json", "ndjson", "binary"]
"""What an endpoint's body is: one JSON value; that or one value a line; bytes that nobody checks to be text."""
BODY_TYPES: dict[BodyKind, tuple[str, ...]] = {
    "json": (JSON,),
    "ndjson": (JSON, "application/x-ndjson"),
    "binary": ("application/x-protobuf",),
}
"""The media types that are taken, the usual one first. A body without a type is taken as well."""


class Endpoint(msgspec.Struct, frozen=True):
    """One method and path. A route without a scope does not start (`scope=None` must say `public=True`)."""

    method: str
    path: str
    """`{name}` is one segment; `{name}:word` is a segment with an action after a colon."""
    name: str
    summary: str
    scopes: frozenset[Scope]
    """Any one of them suffices; empty only with `public`."""
    decode: Callable[[Call], Command]
    encode: Callable[[Any, Any, Call], Reply]
    """(outcome, command, call) → reply. What it repeats of the request stands in the command, never in the body."""
    stream: FrameStyle | None = None
    """Set on endpoints whose command may be a `FollowRun` / `FollowAgent`."""
    limited: bool = False
    """Counts against the dialect's `Limit`."""
    ingests: bool = False
    """Its command is an `Append` or a `Report`: telemetry."""
    request: Any = None
    """The body's type, for the OpenAPI document."""
    reply: Any = None
    """The success reply's type, for the OpenAPI document."""
    reply_status: int = 200
    query: Any = None
    """A Struct type whose fields are the query parameters, for the OpenAPI document."""
    body: BodyKind = "json"
    refuses_by_item: bool = False
    """True: a batch of which nothing could be stored is a 422 in the form of its reply, not of an error."""
    sample: Sample | None = None
    replay: bool = True
    """False: an Idempotency-Key's stored reply is the redacted one (it would hold a secret)."""


class Dialect(msgspec.Struct, frozen=True):
    """A wire: its endpoints and its way to say that something is wrong."""

    name: str
    title: str
    endpoints: tuple[Endpoint, ...]
    explain: Callable[[TowerlogError, str], Reply]
    """(error, trace id) → reply, status included. Total over the family of `errors.py`."""
    limit: Limit | None = None


def scopes(*names: Scope) -> frozenset[Scope]:
    """Any of these; an admin key does everything."""
    return frozenset({*names, Scope.ADMIN})


def reply_json(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    """A JSON reply of a value that msgspec can encode."""
    return Reply(status, msgspec.json.encode(value), JSON, headers)


def status_of(error: TowerlogError) -> int:
    """The HTTP status of an error by `STATUSES`."""
    for kind in type(error).__mro__:
        status = STATUSES.get(getattr(kind, "code", ""))
        if status is not None:
            return status
    return 500


def error_headers(error: TowerlogError, status: int) -> tuple[tuple[bytes, bytes], ...]:
    """When to come back (429, 503 and whatever says so), and how to authenticate (401)."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if status == 401:
        headers += ((b"www-authenticate", b"Bearer"),)
    wait_s = error.retry_after if error.retry_after is not None else 1 if error.retryable else None
    if wait_s is not None:
        headers += ((b"retry-after", b"%d" % wait_s),)
    return headers


PROBLEM = "application/problem+json"
