"""Exports of real libraries, as OTLP writes them: read, sent in either encoding, taken apart span by span."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Json = dict[str, Any]
FOLDER = Path(__file__).parents[1] / "dialects" / "otlp" / "exports"
JSON, PROTOBUF = "application/json", "application/x-protobuf"
REQUESTS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}
_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


@dataclass(frozen=True)
class Export:
    """One request of a library."""

    name: str
    path: str
    body: Json

    def sent(self, kind: str) -> bytes:
        """Its body in an encoding."""
        return json.dumps(self.body).encode() if kind == JSON else as_protobuf(self.path, self.body)

    def one_by_one(self) -> Iterator[Json]:
        """A body for each of its spans, in their order."""
        for resource in self.body["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    yield {"resourceSpans": [{**resource, "scopeSpans": [{**scope, "spans": [span]}]}]}

    def spans(self) -> list[Json]:
        """Its spans."""
        return [body["resourceSpans"][0]["scopeSpans"][0]["spans"][0] for body in self.one_by_one()]


def exports() -> list[Export]:
    """All of them, by name."""
    found = []
    for file in sorted(FOLDER.glob("*.json")):
        told = json.loads(file.read_text(encoding="utf-8"))
        found.append(Export(file.stem, told["path"], told["body"]))
    return found


def as_protobuf(path: str, body: Json) -> bytes:
    """A body of JSON as protobuf."""
    told = _with_base64(copy.deepcopy(body))
    return bytes(ParseDict(told, REQUESTS[path]()).SerializeToString())


def _with_base64(value: Any) -> Any:
    """Ids as JSON of protobuf has bytes; OTLP has them in hex."""
    if isinstance(value, dict):
        return {
            name: base64.b64encode(bytes.fromhex(one)).decode() if name in _IDS else _with_base64(one)
            for name, one in value.items()
        }
    return [_with_base64(one) for one in value] if isinstance(value, list) else value


def span(span_id: int, parent: int = 0, *, trace: int = 1, name: str = "work", **attributes: Any) -> Json:
    """A span of a few milliseconds; `attributes` with `__` for dots."""
    told: Json = {
        "traceId": f"{trace:032x}",
        "spanId": f"{span_id:016x}",
        "name": name,
        "startTimeUnixNano": str(1_775_124_000_000_000_000 + 1_000_000 * span_id),
        "endTimeUnixNano": str(1_775_124_001_000_000_000 - 1_000_000 * span_id),
        "attributes": [{"key": key.replace("__", "."), "value": attribute(value)} for key, value in attributes.items()],
    }
    return told | {"parentSpanId": f"{parent:016x}"} if parent else told


def attribute(value: Any) -> Json:
    """A value as an attribute has it."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [attribute(one) for one in value]}}
        case dict():
            values = [{"key": name, "value": attribute(one)} for name, one in value.items()]
            return {"kvlistValue": {"values": values}}
        case _:
            return {"stringValue": str(value)}


def traces(*spans: Json, service: str = "weather", **resource: Any) -> Json:
    """A request of these spans."""
    about = [{"key": "service.name", "value": attribute(service)}]
    about += [{"key": key.replace("__", "."), "value": attribute(value)} for key, value in resource.items()]
    scope = {"scope": {"name": "by-hand", "version": "1"}, "spans": [*spans]}
    return {"resourceSpans": [{"resource": {"attributes": about}, "scopeSpans": [scope]}]}


def logs(*records: Json, service: str = "weather") -> Json:
    """A request of these log records."""
    about = [{"key": "service.name", "value": attribute(service)}]
    scope = {"scope": {"name": "by-hand"}, "logRecords": [*records]}
    return {"resourceLogs": [{"resource": {"attributes": about}, "scopeLogs": [scope]}]}
