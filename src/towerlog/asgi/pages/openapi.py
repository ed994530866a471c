"""The OpenAPI 3.1 document, made from the route table alone: what is served is what is written down.

Request and reply types are the very ones that decode and encode, and say themselves what their fields mean. What an
error looks like is not written twice either: each dialect is asked to explain those of an endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from towerlog import __version__
from towerlog.asgi.pages.examples import Examples, conversations
from towerlog.asgi.pages.guides.pages import guide_path
from towerlog.asgi.pages.refusals import Refusals, error_name, error_schema
from towerlog.asgi.pages.schemas import REFERENCE, Schema, Schemas
from towerlog.asgi.query_strings import TICKET
from towerlog.asgi.routes import PageRoute, Route, RouteTable
from towerlog.dialects import vocabulary
from towerlog.dialects.base import BODY_TYPES, JSON, PROTOBUF, Dialect, Endpoint
from towerlog.errors import Unauthenticated

EVENT_STREAM = "text/event-stream"
_PARAMETER = re.compile(r"\{(\w+)\}")
_REFERENCE = re.compile(rb'"\$ref":"#/components/(\w+)/([^"]+)"')
_OPERATOR = "operator"
_ANY_OBJECT: Schema = {"type": "object", "additionalProperties": True}
_ABOUT = (
    "Six dialects and a native API over one durable, ordered log of what agents do. A success is sent after the event "
    "is on disk. Times are RFC 3339 in UTC, money is in dollars, unknown is null."
)


def build_document(table: RouteTable, url: str = "/") -> Schema:
    """The whole document, ready to be encoded. `url`: where the server is, as its clients know it."""
    return _Document(table).built(table, url)


class _Document:
    """What the parts of the document share while it is made."""

    def __init__(self, table: RouteTable) -> None:
        self.schemas = Schemas(_declared_types(table))
        self.examples = Examples(self.schemas)
        self.refusals = Refusals()
        self.conversations = conversations()

    def built(self, table: RouteTable, url: str) -> Schema:
        for component in self.schemas.components.values():
            self._exemplify(component)
        components = self.schemas.components
        for dialect in (*table.dialects, table.fallback):
            components.setdefault(error_name(dialect), error_schema(dialect))
        paths: dict[str, Schema] = {}
        for route in table:
            declared = route.declared
            if isinstance(declared, PageRoute) and not declared.is_described:
                continue
            paths.setdefault(declared.path, {})[declared.method.lower()] = self._operation(route)
        return {
            "openapi": "3.1.0",
            "info": _info(),
            "servers": [{"url": url, "description": "This server."}],
            "security": _SECURITY,
            "tags": _tags(table),
            "paths": paths,
            "components": {
                **_used(paths, {"schemas": components, "responses": self.refusals.components}),
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of the organisation."},
                    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
                },
            },
        }

    def _exemplify(self, component: Schema) -> None:
        """Gives every field an example of its own."""
        for field in component.get("properties", {}).values():
            found = self.examples.of(field)
            if found is not None:
                field["examples"] = [found]

    def _operation(self, route: Route) -> Schema:
        declared = route.declared
        tag = _OPERATOR if route.page is not None else route.dialect.name
        operation: Schema = {
            "operationId": declared.name if "." in declared.name else f"{tag}.{declared.name}",
            "tags": [tag],
            "summary": declared.summary.rstrip("."),
            "description": _described(route),
            "parameters": list(self._parameters(route)),
            "responses": self._responses(route),
        }
        if route.public:
            # A page that may be refused for want of a key takes one.
            takes_key = Unauthenticated in declared.refuses and route.page is not None and route.page.asker is None
            operation["security"] = [{}, *_SECURITY] if takes_key else []
        else:
            operation["x-scopes"] = sorted(scope.value for scope in declared.scopes)
        if declared.request is not None:
            operation["requestBody"] = self._request_body(declared)
        return operation

    def _parameters(self, route: Route) -> Iterator[Schema]:
        declared, endpoint = route.declared, route.endpoint
        for name in _PARAMETER.findall(declared.path):
            known = vocabulary.IN_PATHS
            schema = self.schemas.of(known.get(f"{route.dialect.name}.{name}") or known[name])
            bounds = {"minLength": 1, "maxLength": 200} if schema.get("type") == "string" else {"minimum": 0}
            yield _parameter(name, "path", True, schema | bounds)
        if endpoint is not None and endpoint.query is not None:
            query = self.schemas.resolved(self.schemas.of(endpoint.query))
            for name, schema in query["properties"].items():
                yield _parameter(name, "query", name in query["required"], schema)
        if route.is_stream:
            # A stream that begins anywhere takes a cursor in its query as well.
            yield from _OF_STREAMS if endpoint is not None and endpoint.query is not None else _OF_STREAMS[1:]
        if declared.method == "POST" and (route.page is None or route.page.knows_repeats):
            yield _IDEMPOTENCY_KEY

    def _request_body(self, endpoint: Endpoint | PageRoute) -> Schema:
        schema, said = self.schemas.of(endpoint.request), None
        if isinstance(endpoint, Endpoint):
            said = endpoint.sample.request if endpoint.sample else self._said(endpoint, "request")
        usual, *others = BODY_TYPES[endpoint.body]
        content: Schema = {usual: {"schema": schema}} | {type_: {"schema": {"type": "string"}} for type_ in others}
        content[usual]["example"] = self.examples.of(schema) if said is None else said
        resolved = self.schemas.resolved(schema)
        is_required = bool(resolved.get("required")) or "properties" not in resolved
        return {"required": is_required, "description": _text_of(endpoint.request), "content": content}

    def _responses(self, route: Route) -> Schema:
        declared, endpoint = route.declared, route.endpoint
        found: Schema = {}
        if endpoint is not None:
            for status in _good_statuses(endpoint):
                found[str(status)] = self._good_response(status, endpoint)
        else:
            assert isinstance(declared, PageRoute)
            found[str(declared.reply_status)] = page = self._page_response(declared)
            found |= {str(status): page | {"description": words} for status, words in declared.others.items()}
        found |= self.refusals.of(route)
        if endpoint is not None and endpoint.refuses_by_item:
            found["422"] = self._refused_batch(endpoint, route.dialect)
        return dict(sorted(found.items()))

    def _page_response(self, page: PageRoute) -> Schema:
        if page.reply_status == 204:
            return {"description": page.summary}
        schema: Schema = {"type": "string"} if page.reply_type != JSON else dict(_ANY_OBJECT)
        if page.reply is not None:
            schema = self.schemas.of(page.reply)
        example = {
            "example": self.examples.of(schema) if page.reply is not None else _PAGE_EXAMPLES.get(page.name, "…")
        }
        described = _returned(page.reply, page.summary)
        return {"description": described, "content": {page.reply_type: {"schema": schema, **example}}}

    def _refused_batch(self, endpoint: Endpoint, dialect: Dialect) -> Schema:
        """A 422 that is an error where the request is wrong, and a reply where each of its items is."""
        either = [{"$ref": REFERENCE + error_name(dialect)}, self.schemas.of(endpoint.reply)]
        described = "The request is wrong as a whole; or every item in it is, and the body says of each why."
        return {"description": described, "content": {JSON: {"schema": {"anyOf": either}}}}

    def _good_response(self, status: int, endpoint: Endpoint) -> Schema:
        if status == 204:
            return {"description": "There is nothing, and nothing to wait for."}
        content: Schema = {}
        if endpoint.reply is not None:
            schema = self.schemas.of(endpoint.reply)
            content[JSON] = {"schema": schema, "example": self._reply_example(endpoint, schema)}
            if endpoint.body == "binary":
                content[PROTOBUF] = {"schema": {"type": "string"}}
        if endpoint.frames:
            either = [self.schemas.of(type_) for type_ in endpoint.frames]
            content[EVENT_STREAM] = self._stream_of(either[0] if len(either) == 1 else {"anyOf": either})
        returned = _returned(endpoint.reply, endpoint.summary)
        described: Schema = {"description": f"Created. {returned}" if status == 201 else returned}
        return described | ({"content": content} if content else {})

    def _stream_of(self, frame: Schema) -> Schema:
        """The content of a stream: text, of which each `data` is as `frame` says.

        The body has no other schema: generators of clients would take that of a frame for it, and parse it so.
        """
        example = msgspec.json.encode(self.examples.of(frame)).decode()
        schema = {"type": "string", "contentMediaType": EVENT_STREAM, "contentSchema": frame}
        return {"schema": schema, "example": f"data: {example}\n\n"}

    def _reply_example(self, endpoint: Endpoint, schema: Schema) -> Any:
        if endpoint.sample is not None:
            return endpoint.sample.reply
        said = self._said(endpoint, "reply")
        return self.examples.of(schema) if said is None else self.examples.completed(schema, said)

    def _said(self, endpoint: Endpoint, what: str) -> Any:
        return self.conversations.get(endpoint.name, {}).get(what)


_SECURITY: list[Schema] = [{"bearer": []}, {"apiKey": []}]


def _tags(table: RouteTable) -> list[Schema]:
    found = {dialect.name: dialect.title for dialect in table.dialects}
    found[_OPERATOR] = "Pages of the server itself: health, metrics, documentation, tickets"
    # As an extension: external documentation needs an address with a host, which nobody here may know.
    tags = sorted(found.items())
    return [{"name": name, "description": title, "x-guide": guide_path(name)} for name, title in tags]


def _info() -> Schema:
    return {
        "title": "Towerlog",
        "version": __version__,
        "summary": "The control tower and flight recorder for AI agents.",
        "description": _ABOUT,
        "license": {"name": "Apache License 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        "contact": {"name": "Whoever runs this server"},
    }


def _used(paths: Schema, components: dict[str, Schema]) -> Schema:
    """The components that are referred to, from an operation or from another that is: nothing else is on the wire."""
    found: dict[str, Schema] = {kind: {} for kind in components}
    waiting: list[Any] = [paths]
    while waiting:
        for kind, name in _REFERENCE.findall(msgspec.json.encode(waiting.pop())):
            section, one = found[kind.decode()], name.decode()
            if one not in section:
                section[one] = components[kind.decode()][one]
                waiting.append(section[one])
    return {kind: dict(sorted(section.items())) for kind, section in found.items()}


def _declared_types(table: RouteTable) -> Iterator[Any]:
    """Every type that a route takes or returns."""
    for route in table:
        declared = route.declared
        wanted = [declared.reply, declared.request]
        if isinstance(declared, Endpoint):
            wanted += [declared.query, *declared.frames]
        yield from (type_ for type_ in wanted if type_ is not None)


def _described(route: Route) -> str:
    """Who may, and what the summary beside it leaves out."""
    if route.page is not None and route.public:
        return route.page.access
    scopes = [f"`{scope.value}`" for scope in sorted(route.declared.scopes)]
    text = f"Needs a key with the scope {' or '.join(scopes)}."
    if route.endpoint is not None and route.endpoint.frames:
        text += " Of a stream, the schema is that of the JSON in each event's `data`."
    return text


def _parameter(name: str, place: str, required: bool, schema: Schema) -> Schema:
    """A parameter; what its field says of it stands beside its schema, as tools expect it there."""
    left = {word: value for word, value in schema.items() if word not in ("description", "examples")}
    found: Schema = {"name": name, "in": place, "required": required, "description": schema["description"]}
    return found | {"schema": left, "example": schema["examples"][0]}


_IDEMPOTENCY_KEY = _parameter(
    "Idempotency-Key",
    "header",
    False,
    {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[ -~]+$",
        "description": "The same key and body again get the same reply, for a day; nothing is done twice.",
        "examples": ["order-17-try"],
    },
)
_OF_STREAMS = (
    _parameter(
        "Last-Event-ID",
        "header",
        False,
        {
            "type": "string",
            "description": "The `id` of the last event that was received: the stream goes on after it.",
            "examples": ["3"],
        },
    ),
    _parameter(
        TICKET,
        "query",
        False,
        {
            "type": "string",
            "description": "A stream ticket, for a client that can send no headers; good for one stream.",
            "examples": ["h2v8c4tq0m6kx9zr3b7ny5wd1gf8p2sj4a6e0uqk"],
        },
    ),
)


_PAGE_EXAMPLES: dict[str, Any] = {"openapi": {"openapi": "3.1.0"}}
"""Of pages whose content is not worth a type; of text, an ellipsis."""


def _good_statuses(endpoint: Endpoint) -> list[int]:
    """What a success may be: made now or there before; something, or nothing left."""
    statuses = {endpoint.reply_status}
    if endpoint.method == "POST" and endpoint.reply_status == 201:
        statuses.add(200)
    if endpoint.stream is not None or "claim" in endpoint.name:
        statuses.add(204)
    return sorted(statuses)


def _returned(reply: Any, summary: str) -> str:
    """What a reply is: the first sentence of its type, or the endpoint's summary where the type is not ours."""
    return _text_of(reply) or f"{summary.rstrip('.')}."


def _text_of(type_: Any) -> str:
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct) and type_.__doc__:
        return type_.__doc__.strip().splitlines()[0]
    return ""
