"""What an operation may be refused with, for the OpenAPI document: the errors of its endpoint, in its dialect's form.

Every error is explained by the dialect itself, so that a status, a code or a body is never written down twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from towerlog import errors
from towerlog.asgi.pages.schemas import REFERENCE, Schema
from towerlog.asgi.routes import Route
from towerlog.dialects.base import HTML, PROTOBUF, Dialect, Reply
from towerlog.errors import Invalid, NotFound, RateLimited, TowerlogError

SAMPLE_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_TRANSPORT: dict[int, str] = {
    400: "The headers Authorization and X-API-Key name two different keys.",
    408: "The body did not come within the time that it may take.",
    414: "The path or the query is too long.",
    415: "The body is of a type or in an encoding that is not taken.",
    421: "The server does not answer to the host name that was asked for.",
}
"""Statuses of the transport's own; each is explained as a malformed request."""
_KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}


def error_name(dialect: Dialect) -> str:
    """The name of the schema of a dialect's errors."""
    return f"{dialect.name.title()}Error"


def error_samples() -> Iterator[TowerlogError]:
    """One error of every kind."""
    waiting: list[type[TowerlogError]] = [TowerlogError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        yield _sample(kind)


def _sample(kind: type[TowerlogError]) -> TowerlogError:
    if issubclass(kind, NotFound):
        return kind("run")
    if issubclass(kind, Invalid):
        return kind("thread_id: must not contain '/'", field="thread_id")
    if issubclass(kind, RateLimited):
        return kind(retry_after=7)
    return kind()


def refusals(route: Route) -> list[type[TowerlogError]]:
    """The errors that an operation may be refused with."""
    declared, endpoint = route.declared, route.endpoint
    found: list[type[TowerlogError]] = []
    if not route.public:
        found += [errors.Unauthenticated, errors.Forbidden]
    if endpoint is None:
        assert route.page is not None
        return [*found, *route.page.refuses, *([] if route.public else [errors.Overloaded, errors.StorageFailed])]
    if "{" in declared.path:
        found.append(errors.NotFound)
    if endpoint.query is not None or endpoint.method == "POST" or "{" in declared.path:
        found.append(errors.Invalid)
    if endpoint.query is not None or endpoint.method == "POST":
        found.append(errors.Malformed)
    if endpoint.method == "POST":
        found += [errors.TooLarge, errors.InProgress, errors.IdempotencyMismatch]
    if route.limited:
        found.append(errors.RateLimited)
    return [*found, *endpoint.refuses, errors.Overloaded, errors.StorageFailed, errors.Internal]


class Refusals:
    """The responses of all refusals; those that are alike are written once, as components."""

    def __init__(self) -> None:
        """None yet."""
        self.components: Schema = {}

    def of(self, route: Route) -> dict[str, Schema]:
        """Status → a reference to its response."""
        by_status: dict[int, list[tuple[str, str, Reply]]] = {}
        for kind in refusals(route):
            error = _sample(kind)
            reply = route.dialect.explain(error, SAMPLE_TRACE)
            by_status.setdefault(reply.status, []).append((error.code, words_of(kind), reply))
        for status in _of_transport(route):
            malformed = route.dialect.explain(errors.Malformed(_TRANSPORT[status]), SAMPLE_TRACE)
            by_status.setdefault(status, []).append(("transport", _TRANSPORT[status], malformed))
        return {str(status): self._response(route.dialect, status, found) for status, found in by_status.items()}

    def _response(self, dialect: Dialect, status: int, found: list[tuple[str, str, Reply]]) -> Schema:
        name = f"{dialect.name}_{status}_" + "_or_".join(code for code, _, _ in found)
        if name not in self.components:
            is_page = found[0][2].content_type == HTML
            content: Schema = {"schema": {"type": "string"} if is_page else {"$ref": REFERENCE + error_name(dialect)}}
            read = bytes.decode if is_page else msgspec.json.decode
            content["examples"] = {code: {"value": read(reply.body)} for code, _, reply in found}
            said = [words for _, words, _ in found]
            text = said[0] if len(said) == 1 else "\n".join(f"* {words}" for words in said)
            self.components[name] = {"description": text, "content": {found[0][2].content_type: content}}
            if dialect.recode is not None:
                self.components[name]["content"][PROTOBUF] = {"schema": {"type": "string"}}
            retry = {name.decode() for _, _, reply in found for name, _ in reply.headers} & {"retry-after"}
            if retry:
                described = "How many seconds to wait before trying again."
                integer = {"type": "integer", "examples": [7]}
                self.components[name]["headers"] = {"Retry-After": {"description": described, "schema": integer}}
        return {"$ref": f"#/components/responses/{name}"}


def _of_transport(route: Route) -> Iterator[int]:
    endpoint = route.endpoint
    if not route.public:
        yield 400
    if route.declared.method == "POST":
        yield from (408, 415)
    if endpoint is not None and (endpoint.query is not None or "{" in endpoint.path):
        yield 414
    yield 421


def words_of(kind: type[TowerlogError]) -> str:
    """What an error means: the message that callers get by default."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def error_schema(dialect: Dialect) -> Schema:
    """What all the dialect's errors have in common, and what some of them have besides."""
    bodies = [msgspec.json.decode(dialect.explain(error, SAMPLE_TRACE).body) for error in error_samples()]
    properties: Schema = {}
    for body in bodies:
        for name, value in body.items():
            known = properties.setdefault(name, _kind_of(value))
            known.setdefault("description", _MEMBERS.get(name, ""))
            known.setdefault("examples", [value])
    required = sorted(set.intersection(*(set(body) for body in bodies)))
    described = "Why a request was refused."
    found: Schema = {"type": "object", "title": error_name(dialect), "description": described}
    return found | {"properties": properties, "required": required}


_MEMBERS = {
    "code": "What was wrong, for programs: a stable code.",
    "detail": "What was wrong, for people.",
    "details": "Field → what is wrong with it.",
    "error": "What was wrong, for programs or, in some dialects, for people.",
    "errors": "Field → what is wrong with it.",
    "message": "What was wrong, for people.",
    "status": "The HTTP status.",
    "title": "The HTTP status in words.",
    "trace_id": "The trace of this request, also in the header `X-Trace-Id`.",
    "type": "A name of the kind of error.",
    "fieldErrors": "Field → what is wrong with it.",
    "issues": "What is wrong, as a list.",
    "relinkGithub": "Always false: nothing here is linked to another account.",
    "retryAfter": "How many seconds to wait before trying again.",
    "lease_expires_at": "Until when another worker holds the run.",
}
"""Member of an error body → what it says. A member that is missing here fails a test."""


def _kind_of(value: Any) -> Schema:
    if isinstance(value, dict):
        kinds = [_kind_of(one) for one in value.values()]
        # A map of what is alike, or an object of whatever it is.
        return {
            "type": "object",
            "additionalProperties": kinds[0] if kinds and kinds.count(kinds[0]) == len(kinds) else True,
        }
    if isinstance(value, list):
        return {"type": "array", "items": _kind_of(value[0] if value else None)}
    return {} if value is None else {"type": _KINDS[type(value)]}
