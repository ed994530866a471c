"""What log records become: events beside the span that they name; of senders without spans, the calls they report.

A record that names a trace stands in the run of that trace, with the id of its span. One that names none stands in a
run of its session. One that names neither belongs to no run, and is refused.
"""

from __future__ import annotations

import hashlib
from typing import Any

from towerlog.dialects import fields
from towerlog.dialects.otlp import lookups, names
from towerlog.dialects.otlp.drafts import Storing, clean, encoded
from towerlog.dialects.otlp.figures import usage as figures
from towerlog.dialects.otlp.masks import masked
from towerlog.dialects.otlp.spans import ToldRecord, ToldSpan
from towerlog.dialects.otlp.trees import NAME, SESSION
from towerlog.dialects.otlp.values import NANOS_PER_MS, whole
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.event import Draft, EventType, RunByForeignId
from towerlog.model.facts import Effects, Facts
from towerlog.model.span import SpanPlace
from towerlog.model.usage import UsageReport

UNNAMED = "log"
"""The name of a record that has none."""


def draft_of(record: ToldRecord, runs: dict[str, RunByForeignId], storing: Storing) -> Draft:
    """The draft of a record; `runs`: those that the request has named so far. Raises TowerlogError."""
    attributes = record.attributes
    session = lookups.thread_of(record)
    if not record.trace_id and session is None:
        raise fields.invalid_field("traceId", "names no trace, and no attribute names a session: it belongs to no run")
    key = record.trace_id or f"{SESSION}:{session}"
    run = runs.get(key)
    if run is None:
        run = runs[key] = RunByForeignId(f"{NAME}:{key}", session or record.trace_id, session is not None)
    name = _name_of(record)
    told = _told(record, name)
    kind, facts = _facts(record, name, told)
    data = encoded(told, storing)
    return Draft(
        kind,
        run,
        data,
        facts,
        record.time // NANOS_PER_MS or None,
        _event_id(record, name, data),
        None,
        lookups.label(attributes, record.present.agent_name),
        record.source.service or DEFAULT_AGENT,
        part=True,
        span=SpanPlace(f"{NAME}:{key}", record.span_id, hangs=record.span_id or None) if record.trace_id else None,
    )


def _name_of(record: ToldRecord) -> str:
    """Its attribute says what has happened: some libraries name the record itself after a line of their source."""
    told = lookups.label(record.attributes, ((name,) for name in names.LOG_NAMES)) or record.name
    if not told and isinstance(record.body, str) and record.body.startswith(names.LOG_PREFIX):
        told = record.body
    return lookups.named(told or UNNAMED)


def _told(record: ToldRecord, name: str) -> dict[str, Any]:
    told: dict[str, Any] = {"event_name": name, "time_unix_nano": str(record.time)}
    if record.trace_id:
        told["trace_id"] = record.trace_id
    if record.span_id:
        told["span_id"] = record.span_id
    if record.severity or record.severity_text:
        told["severity"] = {"number": record.severity, "text": record.severity_text}
    told |= {"body": masked(record.body), "attributes": clean(record.attributes)}
    if record.source.scope:
        told["scope"] = record.source.scope
    service = record.source.service
    return told if service is None else told | {"service": service}


def _facts(record: ToldRecord, name: str, told: dict[str, Any]) -> tuple[EventType, Facts]:
    """What a record reports: a call, where its sender has no span of it; else nothing but itself."""
    said = name.removeprefix(names.LOG_PREFIX)
    kind = names.LOG_KINDS.get(said) or names.LOG_KINDS.get(f"{said}:{record.attributes.get(names.LOG_KIND)}")
    if record.span_id or kind is None:
        return EventType.OTHER, fields.facts_named(name)
    attributes = record.attributes
    failed = "error" in attributes or str(attributes.get("success", "")).lower() == "false"
    took = whole(attributes["duration_ms"]) if isinstance(attributes.get("duration_ms"), int | str) else None
    duration_ms = took if isinstance(took, int) and took >= 0 else None
    if kind == names.TOOL:
        tool = lookups.label(attributes, record.present.tool_name)
        if tool is not None:
            told["tool"] = tool
        call_id = lookups.text(attributes, record.present.tool_call_id, 8192)
        return EventType.TOOL_RESULT, Facts(
            tool=tool, tool_call_id=call_id, success=not failed, duration_ms=duration_ms
        )
    span = ToldSpan("", "", "", name, 0, 0, 0, attributes, record.present, record.source)
    return EventType.MODEL_CALL, Facts(
        name=lookups.call_name(span) if failed else None,
        success=not failed,
        duration_ms=duration_ms,
        effects=Effects(
            report=UsageReport(figures.usage_of(record), "delta", parts=figures.parts_of(record)),
            model=lookups.model_of(record),
            provider=lookups.provider_of(record),
        ),
    )


def _event_id(record: ToldRecord, name: str, data: bytes) -> str:
    """A record has no id: one that says the same of the same moment is the same."""
    text = f"{record.trace_id}:{record.span_id}:{record.time}:{name}:".encode() + data
    return "log:" + hashlib.blake2b(text, digest_size=16).hexdigest()
