"""Every request that a client can make: its path, its body, and how its reply is read. Does no I/O.

`Client` and `AsyncClient` send what is made here, each in its own way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from towerlog.sdk.api import shapes
from towerlog.sdk.api.shapes import Json
from towerlog.sdk.wire.address import Response
from towerlog.sdk.wire.errors import ApiError, BadAnswer

T = TypeVar("T")
S = TypeVar("S", bound=shapes.Shape)
Query = Mapping[str, object]

_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*rel="?next"?')
LONGEST_MESSAGE = 2_000
"""Characters of an error's text that is not ours, such as a proxy's page."""


@dataclass(frozen=True)
class ApiRequest(Generic[T]):
    """One request. `repeatable`: the server knows a repetition by the body itself, so that it needs no key."""

    method: str
    path: str
    read: Callable[[Response], T]
    body: bytes | None = None
    repeatable: bool = False
    wait_s: float = 0.0
    """How long the server may hold its reply back, on top of the usual time."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a list, and the query that gives the next one; None at the end."""

    rows: Sequence[T]
    next_query: Json | None


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list that comes in pages."""

    path: str
    query: Query
    read: Callable[[Response, Query], Page[T]]

    def first(self) -> ApiRequest[Page[T]]:
        """The request for the first page."""
        return self.at(self.query)

    def at(self, query: Query) -> ApiRequest[Page[T]]:
        """The request for the page that a query names."""
        return ApiRequest("GET", with_query(self.path, query), lambda response: self.read(response, query))


def api_request(
    method: str, template: str, read: Callable[[Any], T], body: object = None, query: Query | None = None, **ids: str
) -> ApiRequest[T]:
    """A request whose path is a template filled with ids, with a JSON body, and a reply that is read from JSON."""
    target = with_query(path_of(template, ids), query or {})
    sent = None if body is None else json_bytes(body)
    return ApiRequest(method, target, lambda response: read(json_of(response)), sent)


def listing(template: str, shape: type[S], query: Query, **ids: str) -> Listing[S]:
    """A list of the native API: `{"data", "next"}`."""

    def read(response: Response, asked: Query) -> Page[S]:
        body = json_of(response)
        if not isinstance(body, dict):
            raise BadAnswer("the server's answer is no page of a list")
        following = body.get("next")
        # The cursor wins over where the first page began.
        return Page(shapes.many(shape)(body.get("data")), {**asked, "cursor": following} if following else None)

    return Listing(path_of(template, ids), query, read)


def linked(template: str, shape: type[S], query: Query, **ids: str) -> Listing[S]:
    """A list of the `runs` dialect: a bare array, the next page in `Link`."""

    def read(response: Response, _asked: Query) -> Page[S]:
        found = _NEXT.search(response.headers.get("link", ""))
        following = dict(parse_qsl(urlsplit(found[1]).query)) if found else None
        return Page(shapes.many(shape)(json_of(response)), following)

    return Listing(path_of(template, ids), query, read)


def held_back(made: ApiRequest[T], wait_s: float) -> ApiRequest[T]:
    """A request whose reply may take that much longer, and whose events have ids by which a repetition is known."""
    return replace(made, wait_s=wait_s, repeatable=True)


def path_of(template: str, ids: Mapping[str, str]) -> str:
    """The template with its ids, each percent-encoded. Raises ValueError for an empty one."""
    for name, value in ids.items():
        if not value:
            raise ValueError(f"{name} must not be empty")
        template = template.replace("{" + name + "}", quote(value, safe=""))
    return template


def with_query(path: str, query: Query) -> str:
    """The path with what is not None; True and False as JSON has them, several words comma-separated."""
    known = {name: _word(value) for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(known)}" if known else path


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def given(**members: object) -> dict[str, object]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def json_bytes(value: object) -> bytes:
    """JSON. Raises TypeError or ValueError for what cannot be said in it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def json_of(response: Response) -> Any:
    """The value in a good reply. Raises ApiError for a refusal and BadAnswer for what is not JSON."""
    refuse(response)
    try:
        return json.loads(response.body)
    except ValueError:
        raise BadAnswer(f"the server answered {response.status} with something that is not JSON") from None


def refuse(response: Response) -> None:
    """Raises ApiError for a reply that is a refusal."""
    if response.status >= 300:
        raise refusal(response.status, response.headers, response.body)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """What a refusal says, in whichever form its dialect has."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    retry_after = Response(status, headers, b"").retry_after_s
    if not isinstance(said, dict):
        text = " ".join(body[:LONGEST_MESSAGE].decode("utf-8", "replace").split()) or "The server gave no reason."
        return ApiError(status, "http", text, None, headers.get("x-trace-id"), retry_after)
    code = said.get("code") or said.get("error") or "http"
    message = said.get("message") or said.get("detail") or said.get("error") or "The server gave no reason."
    details = said.get("details") or said.get("errors") or said.get("fieldErrors")
    trace_id = said.get("trace_id") or headers.get("x-trace-id")
    known = {str(name): str(what) for name, what in details.items()} if isinstance(details, dict) else None
    return ApiError(status, str(code), str(message)[:LONGEST_MESSAGE], known, trace_id, retry_after)
