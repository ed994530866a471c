"""Requests of a client: path, body, and how the reply is read. Does no I/O.

`Client` and `AsyncClient` send them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from towerlog.sdk.api import shapes
from towerlog.sdk.api.shapes import Json
from towerlog.sdk.wire.address import MAX_HISTORY_BYTES, MAX_RESPONSE_BYTES, Response
from towerlog.sdk.wire.errors import BadAnswer
from towerlog.sdk.wire.event_batch import json_bytes
from towerlog.sdk.wire.refusals import json_of

T = TypeVar("T")
S = TypeVar("S", bound=shapes.Shape)
Query = Mapping[str, object]
_OF_RUNS = ("status", "agent", "thread_id", "model", "persona_id", "parent_run_id", "since", "until", "q")
FILTERS: Mapping[str, Sequence[str]] = {
    "runs": (*_OF_RUNS, "metadata", "label", "min_cost_usd", "max_cost_usd", "has_errors", "silent"),
    "rows": _OF_RUNS,
    "usage": ("since", "until", "agent", "model"),
    "audit": ("actor", "action", "object", "since"),
    "holds": ("budget_id", "run_id", "key_id"),
    "alerts": ("rule_id", "state"),
    "deliveries": ("rule_id", "alert_id", "state"),
}
"""What lists, counts and figures can be filtered by; a test compares it with the server's queries."""
_BOUNDS = ("limit", "page_size", "max", "count")


def known(filters: Query, of: str) -> Query:
    """The filters as they were given. Raises ValueError for one that there is not."""
    for name in filters:
        if name not in FILTERS[of]:
            words = f"there is no filter {name!r}: the filters are {', '.join(FILTERS[of])}"
            raise ValueError(f"{words}; for the first rows of a list, itertools.islice" if name in _BOUNDS else words)
    return filters


@dataclass(frozen=True)
class ApiRequest(Generic[T]):
    """One request. `repeatable`: the server recognises a repetition by the body, so no idempotency key is needed."""

    method: str
    path: str
    read: Callable[[Response], T]
    body: bytes | None = None
    repeatable: bool = False
    wait_s: float = 0.0
    """How long the server may delay its reply, in addition to the usual timeout."""
    bytes_max: int = MAX_RESPONSE_BYTES
    content_type: str = "application/json"
    """Of the body."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a list, and the query of the next one; None at the end."""

    rows: Sequence[T]
    next_query: Json | None


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list with pages."""

    path: str
    query: Query
    read: Callable[[Response, Query], Page[T]]

    def first(self) -> ApiRequest[Page[T]]:
        """The request for the first page."""
        return self.at(self.query)

    def at(self, query: Query) -> ApiRequest[Page[T]]:
        """The request for the page of a query."""
        return ApiRequest("GET", with_query(self.path, query), lambda response: self.read(response, query))


def api_request(
    method: str, template: str, read: Callable[[Any], T], body: object = None, query: Query | None = None, **ids: str
) -> ApiRequest[T]:
    """A request with a path from a template and ids, an optional JSON body, and a JSON reply."""
    target = with_query(path_of(template, ids), query or {})
    sent = None if body is None else json_bytes(body)
    return ApiRequest(method, target, lambda response: read(json_of(response)), sent)


def listing(template: str, shape: type[S], query: Query, **ids: str) -> Listing[S]:
    """A list of the native API: `{"data", "next"}`."""

    def read(response: Response, asked: Query) -> Page[S]:
        body = json_of(response)
        if not isinstance(body, dict):
            raise BadAnswer("the server's reply is not a page of a list")
        following = body.get("next")
        if following is not None and (not isinstance(following, str) or following == asked.get("cursor")):
            raise BadAnswer("the server's reply names no next page of the list")
        # The cursor replaces the start of the first page.
        return Page(shapes.many(shape)(body.get("data")), {**asked, "cursor": following} if following else None)

    return Listing(path_of(template, ids), query, read)


def linked(template: str, shape: type[S], query: Query, **ids: str) -> Listing[S]:
    """A list of the `runs` dialect: a bare array, the next page in `Link`."""

    def read(response: Response, _asked: Query) -> Page[S]:
        target = next_link(response.headers.get("link", ""))
        following = None if target is None else dict(parse_qsl(urlsplit(target).query))
        return Page(shapes.many(shape)(json_of(response)), following)

    return Listing(path_of(template, ids), query, read)


def next_link(text: str) -> str | None:
    """The target of `rel="next"` in a `Link` header: `<target>; name=value …`, several of them after commas.

    Goes through the text once, whatever it is.
    """
    for part in text.split("<")[1:]:
        target, found, rest = part.partition(">")
        names = [name.replace(" ", "").replace('"', "") for name in rest.partition(",")[0].split(";")[1:]]
        if found and "rel=next" in names:
            return target
    return None


def headers_of(made: ApiRequest[Any], idempotency_key: str | None) -> dict[str, str]:
    """The headers of a request: what its body is, and a key where a repetition would otherwise be another change."""
    headers = {} if made.body is None else {"Content-Type": made.content_type}
    if made.method == "POST" and not made.repeatable:
        headers["Idempotency-Key"] = idempotency_key or uuid.uuid4().hex
    return headers


def resumed_by(raw: Any) -> str | None:
    """Reads the run that got what was asked of one whose runner has begun anew."""
    return raw.get("resumed_by") if isinstance(raw, dict) else None


def held_back(made: ApiRequest[T], wait_s: float) -> ApiRequest[T]:
    """A request whose reply may take longer, and whose events have ids by which a repetition is recognised."""
    return replace(made, wait_s=wait_s, repeatable=True)


def with_history(made: ApiRequest[T]) -> ApiRequest[T]:
    """A request whose reply brings a whole conversation."""
    return replace(made, bytes_max=MAX_HISTORY_BYTES)


def path_of(template: str, ids: Mapping[str, str]) -> str:
    """The template with its ids, each percent-encoded. Raises ValueError for an empty one.

    Half a character, as a command line may hold, becomes a question mark: nothing has such an id.
    """
    for name, value in ids.items():
        if not value:
            raise ValueError(f"{name} must not be empty")
        template = template.replace("{" + name + "}", quote(value, safe="", errors="replace"))
    return template


def with_query(path: str, query: Query) -> str:
    """The path with the query's members that are not None; booleans as in JSON, lists comma-separated."""
    known = {name: _word(value) for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(known, errors='replace')}" if known else path


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def given(**members: object) -> dict[str, object]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def many_in_data(shape: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Reads the rows of a reply that has them under `data`."""

    def read(raw: Any) -> tuple[Any, ...]:
        if not isinstance(raw, dict):
            raise BadAnswer("the server's reply is not a list")
        return shapes.many(shape)(raw.get("data"))

    return read


def ids_in_data(raw: Any) -> tuple[str, ...]:
    """The ids under `data`."""
    found = raw.get("data") if isinstance(raw, dict) else None
    if not isinstance(found, list):
        raise BadAnswer("the server's reply is not a list of ids")
    return tuple(map(str, found))
