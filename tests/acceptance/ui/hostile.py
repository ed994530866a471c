"""Hostile text in every string field of every dialect: each golden request and each body of the OpenAPI document.

A field is tainted where its decoder takes a hostile text in it, so no list of fields can be out of date: what is left
as it was could not have come in. Names of things keep together: a text becomes the same hostile text in any place.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from tests.acceptance.broken_bodies import Path, places_of
from tests.acceptance.test_golden import FILES, PLACEHOLDER
from tests.dialects.calls import call
from towerlog.asgi.pages import Pages
from towerlog.asgi.pages.openapi import build_document
from towerlog.asgi.routes import RouteTable
from towerlog.dialects import DIALECTS
from towerlog.dialects.base import Endpoint
from towerlog.dialects.native import NATIVE
from towerlog.errors import TowerlogError

_AWAY = "https://elsewhere.invalid"
PAYLOADS: dict[str, str] = {
    "markup": f"\"'><script>sentinel('script')</script><img src=x onerror=sentinel('img')><iframe src={_AWAY}>",
    "handlers": "\" onmouseover=sentinel('over') onfocus=sentinel('focus') autofocus style=animation:x 1s onclick='x",
    "address": f"javascript:sentinel('address')//{_AWAY}/x",
    "template": "{{sentinel('t')}}${sentinel('t')}{@html sentinel('t')}<%= sentinel('t') %>#{7*7}",
    "markdown": f"[go](javascript:sentinel('md')) ![p]({_AWAY}/p.png) <{_AWAY}/auto> **b** `c`",
    "styles": f"</style><style>@import '{_AWAY}/s.css';*{{display:none}}</style>;background:url({_AWAY}/b.png)",
    "entities": "&lt;img src=x onerror=sentinel(&#39;e&#39;)&gt;%3Cscript%3Esentinel('p')%3C/script%3E",
    "terminal": "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x1b]8;;https://elsewhere.invalid\x1b\\link\x08\x08\r\x00\x7f\x9b1m",
    "bidi": "\u202e\u2066txt.exe\u2069\u202c\u200f\u061c",
    "unseen": "pay\u200bpal\u00ad\u2060\ufeff\u180e\u2028\u2029\U000e0041\ufffb",
    "half": "half \ud83d an emoji \udc00, and a whole one \U0001f469\u200d\U0001f680",
    "long": f"<img src={_AWAY}/l onerror=sentinel('long')>" * 2_000,
}
"""By what they try. `sentinel` is a function of the tests' page that fails them."""
MEANING = frozenset(
    {"type", "event_type", "phase", "status", "decision", "trigger", "period", "action", "kind", "role"}
)
"""Members that decide what else is read: tainted one at a time, and not with all others."""
LARGE_CHARS, MAX_LARGE = 10_000, 4
ANY_ID = "0189d3f0-0000-7000-8000-000000000007"
_WHOLE = re.compile(r"\\ud83d(?= )|(?<= )\\udc00")
"""The halves of the payload, which the server replaces before it decodes."""


class Request(NamedTuple):
    """A request to send; placeholders of the golden files stand in it."""

    method: str
    path: str
    query: dict[str, str] | None
    body: Any
    headers: dict[str, str]
    save: dict[str, str]
    tainted: int
    """How many of its strings are hostile."""


class Conversation(NamedTuple):
    """Requests that build on each other."""

    name: str
    requests: tuple[Request, ...]


def _table() -> list[tuple[re.Pattern[str], Endpoint]]:
    found = [one for dialect in (*DIALECTS, NATIVE) for one in dialect.endpoints]
    found.sort(key=lambda one: one.path.count("{"))
    return [(re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(one.path)) + r"\Z"), one) for one in found]


_TABLE = _table()


def endpoint_of(method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
    """What serves a path, and the parameters in it; None for pages."""
    for pattern, one in _TABLE:
        match = pattern.match(path) if one.method == method else None
        if match is not None:
            return one, match.groupdict()
    return None


def conversations(payload: str) -> Iterator[Conversation]:
    """All golden files and the OpenAPI document's bodies, tainted."""
    for number, file in enumerate(FILES):
        told = json.loads(file.read_text(encoding="utf-8"))

        def taint(text: str, number: int = number) -> str:
            return f"{number}-{text}{payload}"

        steps = [*told.get("setup", []), *told["steps"]]
        yield Conversation(f"{file.parent.name}-{file.stem}", tuple(_of_steps(steps, taint)))
        for alone in _one_by_one(steps, taint):
            yield Conversation(f"{file.parent.name}-{file.stem}-alone", (alone,))
    yield Conversation("openapi", tuple(_of_document(lambda text: f"{text}{payload}")))


def _of_steps(steps: list[Any], taint: Callable[[str], str]) -> Iterator[Request]:
    """Each step with all the texts hostile that may be."""
    for step in steps:
        request = step["request"]
        if request["method"] == "GET" and "save" not in step:
            continue
        yield _tainted(request, taint, step.get("save", {}))


def _one_by_one(steps: list[Any], taint: Callable[[str], str]) -> Iterator[Request]:
    """Of each kind of request, each member that has a meaning with a hostile one instead."""
    seen: set[tuple[str, tuple[Any, ...]]] = set()
    for step in steps:
        request, body = step["request"], step["request"].get("json")
        for path in places_of(body):
            way = tuple("*" if isinstance(part, int) else part for part in path)
            at = value_at(body, path)
            if path and path[-1] in MEANING and isinstance(at, str) and (request["path"], (*way, at)) not in seen:
                seen.add((request["path"], (*way, at)))
                changed = {**request, "json": placed(body, path, taint(at))}
                if "{" not in json.dumps(changed.get("path")):
                    yield _tainted(changed, taint, {})


def _tainted(request: dict[str, Any], taint: Callable[[str], str], save: dict[str, str]) -> Request:
    """The request with every text hostile that its decoder takes so."""
    method, path, body = request["method"], request["path"], request.get("json")
    headers, query = dict(request.get("headers", {})), request.get("query")
    found = endpoint_of(method, path)
    if found is None:
        return Request(method, path, query, body, headers, save, 0)
    endpoint, params = found
    params = {name: ANY_ID if PLACEHOLDER.search(text) else text for name, text in params.items()}
    texts = [at for at in places_of(body) if isinstance(value_at(body, at), str) and not (at and at[-1] in MEANING)]
    texts = [at for at in texts if not PLACEHOLDER.search(value_at(body, at))]
    alone = [at for at in texts if _takes(endpoint, params, placed(body, at, taint(value_at(body, at))))]
    whole = functools.reduce(lambda made, at: placed(made, at, taint(value_at(body, at))), alone, body)
    if not _takes(endpoint, params, whole):
        whole, alone = _as_far_as_it_goes(endpoint, params, body, alone, taint)
    count = len(alone)
    for name, text in params.items():
        hostile = {**params, name: taint(text)}
        if text != ANY_ID and _takes(endpoint, hostile, whole):
            path = path.replace(f"/{text}", "/" + quote(taint(text), safe="", errors="replace"), 1)
            params, count = hostile, count + 1
    return Request(method, path, query, whole, headers, save, count)


def _as_far_as_it_goes(
    endpoint: Endpoint, params: dict[str, str], body: Any, places: list[Path], taint: Callable[[str], str]
) -> tuple[Any, list[Path]]:
    """The body with as many hostile texts as it may have together, and where they are; of large ones a few."""
    kept: list[Path] = []
    for at in places if len(taint("")) < LARGE_CHARS else places[:MAX_LARGE]:
        spoilt = placed(body, at, taint(value_at(body, at)))
        if _takes(endpoint, params, spoilt):
            body, kept = spoilt, [*kept, at]
    return body, kept


def _takes(endpoint: Endpoint, params: dict[str, str], body: Any) -> bool:
    """Whether an endpoint's decoder refuses none of it."""
    try:
        endpoint.decode(call(b"" if body is None else _WHOLE.sub("\\\\ufffd", json.dumps(body)).encode(), path=params))
    except (TowerlogError, UnicodeEncodeError):
        return False
    return True


# The OpenAPI document


def _of_document(taint: Callable[[str], str]) -> Iterator[Request]:
    """A body of each operation with all its members, tainted; ids of things that are there stand in its path."""
    document = json.loads(_document())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None or "/session" in path or "sign-in" in path:
                continue
            for body in (content.get("example"), _full(document, content["schema"])):
                if body is not None:
                    request = {"method": method.upper(), "path": path, "json": body}
                    yield _tainted(request, taint, {})


def _document() -> bytes:
    table = RouteTable((*DIALECTS, NATIVE), Pages(metrics_public=False).routes(), NATIVE)
    return msgspec.json.encode(build_document(table))


def _full(document: Any, schema: Any, depth: int = 0) -> Any:
    """A value of a schema with all of its members: their examples, else what their own schemas say."""
    if "$ref" in schema:
        return _full(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], depth)
    if "properties" in schema and depth < 8:
        return {name: _full(document, one, depth + 1) for name, one in schema["properties"].items()}
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in schema.get("anyOf", schema.get("oneOf", [])):
        if choice.get("type") != "null":
            return _full(document, choice, depth)
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "array":
        return [_full(document, schema.get("items", {}), depth + 1)]
    return {"object": {"a": "text"}, "integer": 1, "number": 1, "boolean": True}.get(kind, "text")


def value_at(value: Any, path: Path) -> Any:
    """What lies at a path of `places_of`."""
    for part in path:
        value = value[part]
    return value


def placed(value: Any, path: Path, new: Any) -> Any:
    """A copy with another value at the path."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        return [placed(one, rest, new) if at == step else one for at, one in enumerate(value)]
    return {name: placed(one, rest, new) if name == step else one for name, one in value.items()}
