"""Files of OpenTelemetry: what the collector's file exporter writes, and single requests, in JSON and protobuf.

They are sent to the endpoints that exporters send to, so that the server makes of them what it makes of the same spans
from an exporter, and knows them again. A request is a line of a file, or the whole of it; one that is too large is sent
in parts, which are the same whenever the file is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from towerlog.cli.importers.events import Json, Values
from towerlog.errors import Malformed
from towerlog.sdk.wire import json_text

NAME = "otlp"
PART_ITEMS = 5000
PART_BYTES = 4 * 1024 * 1024
"""Of one request, unless one span is more: a server takes 10,000 spans and 16 MiB."""
JSON, PROTOBUF = "application/json", "application/x-protobuf"
_FIRST_FIELD = 0x0A
"""How a request begins as protobuf, and each of its parts: field 1, with a length."""


class _Signal(NamedTuple):
    """Where spans, or log records, go, and the members by which a request holds them."""

    path: str
    resources: str
    scopes: str
    items: str


SIGNALS = (
    _Signal("/v1/traces", "resourceSpans", "scopeSpans", "spans"),
    _Signal("/v1/logs", "resourceLogs", "scopeLogs", "logRecords"),
)
METRICS = "resourceMetrics"


class ExportRequest(NamedTuple):
    """A request as an exporter would send it."""

    path: str
    kind: str
    """Its content type."""
    body: bytes


def recognizes(value: Any) -> bool:
    """Whether this is a request in JSON."""
    names = (*(one.resources for one in SIGNALS), METRICS)
    return isinstance(value, dict) and any(isinstance(value.get(name), list) for name in names)


def is_protobuf(path: Path) -> bool:
    """Whether a file looks like a request in protobuf: its first field is that of one, and ends within it."""
    with path.open("rb") as file:
        head = file.read(12)
    # The same byte is a line end, with which a file of text may begin.
    if not head or head[0] != _FIRST_FIELD or head.lstrip()[:1] in (b"", b"{", b"["):
        return False
    length, begin = _length(head, 1)
    return begin > 0 and begin + length <= path.stat().st_size


def requests_of(values: Values) -> Iterator[ExportRequest]:
    """The requests of a file of JSON; metrics, which a server does not store, are left out."""
    for _, value in values:
        for signal in SIGNALS:
            if not isinstance(value, dict) or not isinstance(value.get(signal.resources), list):
                continue
            text = json_text.write({signal.resources: value[signal.resources]}, compact=True).encode()
            if (
                len(text) <= PART_BYTES
                and sum(len(scope[signal.items]) for _, scope in _scopes(value, signal)) <= PART_ITEMS
            ):
                yield ExportRequest(signal.path, JSON, text)
            else:
                yield from _parts(value, signal)


def _scopes(value: Json, signal: _Signal) -> Iterator[tuple[Json, Json]]:
    """Each scope that has a list of items, with its resource."""
    for resource in value[signal.resources]:
        scopes = resource.get(signal.scopes) if isinstance(resource, dict) else None
        for scope in scopes if isinstance(scopes, list) else ():
            if isinstance(scope, dict) and isinstance(scope.get(signal.items), list):
                yield resource, scope


def _parts(value: Json, signal: _Signal) -> Iterator[ExportRequest]:
    """A large request as several, each with items of one scope."""
    for resource, scope in _scopes(value, signal):
        part: list[Any] = []
        size = 0
        for item in scope[signal.items]:
            length = len(json_text.write(item, compact=True))
            if part and (len(part) >= PART_ITEMS or size + length > PART_BYTES):
                yield _part(resource, scope, signal, part)
                part, size = [], 0
            part.append(item)
            size += length
        if part:
            yield _part(resource, scope, signal, part)


def _part(resource: Json, scope: Json, signal: _Signal, items: list[Any]) -> ExportRequest:
    whole = {signal.resources: [{**resource, signal.scopes: [{**scope, signal.items: items}]}]}
    return ExportRequest(signal.path, JSON, json_text.write(whole, compact=True).encode())


def requests_of_protobuf(body: bytes) -> Iterator[ExportRequest]:
    """Spans of as many processes as fit into a request; one that has too many is left to the server to refuse.

    Raises Malformed.
    """
    begin = at = 0
    while at < len(body):
        length, inner = _length(body, at + 1) if body[at] == _FIRST_FIELD else (0, 0)
        if not inner or inner + length > len(body):
            raise Malformed(f"the file is no request of OTLP in protobuf from byte {at} on")
        if at > begin and inner + length - begin > PART_BYTES:
            yield ExportRequest(SIGNALS[0].path, PROTOBUF, body[begin:at])
            begin = at
        at = inner + length
    if begin < at:
        yield ExportRequest(SIGNALS[0].path, PROTOBUF, body[begin:at])


def _length(body: bytes, at: int) -> tuple[int, int]:
    """A length of protobuf, and where it ends; (0, 0) for none."""
    value = shift = 0
    while at < len(body) and shift < 35:
        value |= (body[at] & 0x7F) << shift
        at += 1
        if body[at - 1] < 0x80:
            return value, at
        shift += 7
    return 0, 0
