"""The OpenAPI 3.1 document, made from the route table alone: what is served is what is written down.

Request and reply types are the very ones that decode and encode. What an error looks like is not written twice either:
each dialect is asked to explain one of every kind, and its answers are described.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec

from towerlog import __version__
from towerlog.asgi.pages.schemas import REFERENCE, Schema, Schemas
from towerlog.asgi.routes import PageRoute, Route, RouteTable
from towerlog.dialects.base import BODY_TYPES, JSON, Dialect, Endpoint, Reply
from towerlog.errors import Invalid, NotFound, RateLimited, TowerlogError

_PARAMETER = re.compile(r"\{(\w+)\}")
_SAMPLE_TRACE = "0" * 32
_TRANSPORT_STATUSES = (405, 408, 414, 415, 421)
_KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}


def build_document(table: RouteTable) -> Schema:
    """The whole document, ready to be encoded."""
    schemas = Schemas(_declared_types(table))
    components = schemas.components
    responses: Schema = {}
    for dialect in (*table.dialects, table.fallback):
        components.setdefault(_error_name(dialect), _error_schema(dialect))
        responses |= _error_responses(dialect)
    paths: dict[str, Schema] = {}
    for route in table:
        declared = route.declared
        paths.setdefault(declared.path, {})[declared.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Towerlog",
            "version": __version__,
            "summary": "The control tower and flight recorder for AI agents.",
        },
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": [{"name": dialect.name, "description": dialect.title} for dialect in table.dialects],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "responses": responses,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def error_samples() -> Iterator[TowerlogError]:
    """One error of every kind."""
    waiting: list[type[TowerlogError]] = [TowerlogError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if issubclass(kind, NotFound):
            yield kind("run")
        elif issubclass(kind, Invalid):
            yield kind("field: is wrong", field="field")
        elif issubclass(kind, RateLimited):
            yield kind(retry_after=7)
        else:
            yield kind()


def _declared_types(table: RouteTable) -> Iterator[Any]:
    """Every type that a route takes or returns."""
    for route in table:
        declared = route.declared
        wanted = [declared.reply]
        if isinstance(declared, Endpoint):
            wanted += [declared.request, declared.query]
        yield from (type_ for type_ in wanted if type_ is not None)


def _operation(route: Route, schemas: Schemas) -> Schema:
    declared = route.declared
    name = "operator" if route.page is not None else route.dialect.name
    operation: Schema = {
        "operationId": declared.name if "." in declared.name else f"{name}.{declared.name}",
        "tags": [name],
        "summary": declared.summary,
        "parameters": list(_parameters(declared, schemas)),
        "responses": _responses(route, schemas),
    }
    if route.public:
        operation["security"] = []
    else:
        operation["x-scopes"] = sorted(scope.value for scope in declared.scopes)
    if isinstance(declared, Endpoint) and declared.request is not None:
        operation["requestBody"] = _request_body(declared, schemas)
    return operation


def _parameters(declared: Endpoint | PageRoute, schemas: Schemas) -> Iterator[Schema]:
    for name in _PARAMETER.findall(declared.path):
        schema: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if isinstance(declared, Endpoint) and declared.query is not None:
        query = schemas.resolved(schemas.of(declared.query))
        for name, schema in query.get("properties", {}).items():
            yield {"name": name, "in": "query", "required": name in query.get("required", ()), "schema": schema}
    if declared.method == "POST":
        key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}
        yield {"name": "Idempotency-Key", "in": "header", "required": False, "schema": key}


def _request_body(endpoint: Endpoint, schemas: Schemas) -> Schema:
    schema = schemas.of(endpoint.request)
    content: Schema = {}
    for type_ in BODY_TYPES[endpoint.body]:
        content[type_] = {"schema": schema if type_ == JSON else {"type": "string"}}
    if endpoint.sample is not None:
        content[JSON]["example"] = endpoint.sample.request
    resolved = schemas.resolved(schema)
    return {"required": bool(resolved.get("required")) or "properties" not in resolved, "content": content}


def _responses(route: Route, schemas: Schemas) -> Schema:
    declared, dialect = route.declared, route.dialect
    found: Schema = {}
    if isinstance(declared, Endpoint):
        for status in _good_statuses(declared):
            found[str(status)] = _good_response(status, declared, schemas)
    else:
        schema = {} if declared.reply is None else {"schema": schemas.of(declared.reply)}
        described = _returned(declared.reply, declared.summary)
        found["200"] = {"description": described, "content": {declared.reply_type: schema}}
    for status in _bad_statuses(dialect):
        found[str(status)] = {"$ref": f"#/components/responses/{dialect.name}_{status}"}
    if isinstance(declared, Endpoint) and declared.refuses_by_item:
        found["422"] = _refused_batch(declared, dialect, schemas)
    return found


def _refused_batch(endpoint: Endpoint, dialect: Dialect, schemas: Schemas) -> Schema:
    """A 422 that is an error where the request is wrong, and a reply where each of its items is."""
    either = [{"$ref": REFERENCE + _error_name(dialect)}, schemas.of(endpoint.reply)]
    described = "The request is wrong as a whole; or every item in it is, and the body says of each why."
    return {"description": described, "content": {JSON: {"schema": {"anyOf": either}}}}


def _good_statuses(endpoint: Endpoint) -> list[int]:
    """What a success may be: made now or there before; something, or nothing left."""
    statuses = {endpoint.reply_status}
    if endpoint.method == "POST" and endpoint.reply_status == 201:
        statuses.add(200)
    if endpoint.stream is not None or "claim" in endpoint.name:
        statuses.add(204)
    return sorted(statuses)


def _good_response(status: int, endpoint: Endpoint, schemas: Schemas) -> Schema:
    if status == 204:
        return {"description": "There is nothing, and nothing to wait for."}
    content: Schema = {}
    if endpoint.reply is not None:
        content[JSON] = {"schema": schemas.of(endpoint.reply)}
        if endpoint.sample is not None:
            content[JSON]["example"] = endpoint.sample.reply
    if endpoint.stream is not None:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    returned = _returned(endpoint.reply, endpoint.summary)
    described: Schema = {"description": f"Created. {returned}" if status == 201 else returned}
    return described | ({"content": content} if content else {})


def _returned(reply: Any, summary: str) -> str:
    """What a reply is: the first sentence of its type, or the endpoint's summary where the type is not ours."""
    if isinstance(reply, type) and issubclass(reply, msgspec.Struct) and reply.__doc__:
        return reply.__doc__.strip().splitlines()[0]
    return f"{summary.rstrip('.')}."


# Errors


def _error_name(dialect: Dialect) -> str:
    return f"{dialect.name.title()}Error"


def _explained(dialect: Dialect) -> list[Reply]:
    return [dialect.explain(error, _SAMPLE_TRACE) for error in error_samples()]


def _bad_statuses(dialect: Dialect) -> list[int]:
    return sorted({reply.status for reply in _explained(dialect)} | set(_TRANSPORT_STATUSES))


def _error_schema(dialect: Dialect) -> Schema:
    """What all the dialect's errors have in common, and what some of them have besides."""
    bodies = [msgspec.json.decode(reply.body) for reply in _explained(dialect)]
    properties: Schema = {}
    for body in bodies:
        for name, value in body.items():
            known = properties.setdefault(name, _kind_of(value))
            if known != _kind_of(value):
                properties[name] = {}
    required = sorted(set.intersection(*(set(body) for body in bodies)))
    return {"type": "object", "title": _error_name(dialect), "properties": properties, "required": required}


def _kind_of(value: object) -> Schema:
    return {"type": _KINDS.get(type(value), "object")}


def _error_responses(dialect: Dialect) -> Schema:
    content_type = _explained(dialect)[0].content_type
    content = {content_type: {"schema": {"$ref": REFERENCE + _error_name(dialect)}}}
    return {
        f"{dialect.name}_{status}": {"description": _words_of(dialect, status), "content": content}
        for status in _bad_statuses(dialect)
    }


def _words_of(dialect: Dialect, status: int) -> str:
    """What a status means in a dialect: the default messages of the errors that have it, else HTTP's own words."""
    kinds = {type(error) for error in error_samples() if dialect.explain(error, _SAMPLE_TRACE).status == status}
    messages = sorted((kind.__doc__ or "").strip().splitlines()[0] for kind in kinds if kind is not TowerlogError)
    return " / ".join(messages) or f"{HTTPStatus(status).phrase}."
