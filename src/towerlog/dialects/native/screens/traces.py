"""The native endpoint of a run as spans of OpenTelemetry, for programs that draw traces."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import MAX_SEQ, path_uuid, query_int
from towerlog.dialects.views.otel_spans import RunNames, RunSpans, told_attributes
from towerlog.model.event import Event
from towerlog.model.outcome import Page
from towerlog.model.principal import Scope
from towerlog.model.question import ListEvents

MAX_TRACE_EVENTS = 1000
"""Events of a run that one reply is made of, and the number where nobody asks for one."""
MAX_TRACE_BYTES = 4 * 1024 * 1024
"""Of the spans of a reply, unless one is larger by itself."""


class TraceQuery(msgspec.Struct, frozen=True):
    """Which part of a long run."""

    limit: Annotated[int, v.said("The most events to look at.", 1000, minimum=1, maximum=MAX_TRACE_EVENTS)] = (
        MAX_TRACE_EVENTS
    )
    after_seq: Annotated[int, v.said("Begin after this event.", 0, minimum=0)] = 0


class RunTrace(msgspec.Struct, frozen=True):
    """Spans that have ended, as OTLP writes them in JSON: what `POST /v1/traces` of any collector takes."""

    resource_spans: Annotated[
        list[dict[str, Any]],
        v.said("The spans of the run.", [{"resource": {"attributes": []}, "scopeSpans": [{"spans": []}]}]),
    ] = msgspec.field(name="resourceSpans")


def _decode_trace(call: Call) -> ListEvents:
    limit = query_int(call.query, "limit", MAX_TRACE_EVENTS, 1, MAX_TRACE_EVENTS)
    after_seq = query_int(call.query, "after_seq", 0, 0, MAX_SEQ)
    return ListEvents(path_uuid(call.path["run_id"], "run"), limit, after_seq, names_agents=True)


def _encode_trace(page: Page, command: ListEvents, _call: Call) -> Reply:
    events = (row for row in page.rows if isinstance(row, Event))
    names = RunNames()
    if page.about is not None:
        run, agents, figures = page.about
        names = RunNames(run.agent, run.thread_id, agents, run.ended_seq, figures)
    spans = RunSpans(command.run_id, names)
    scopes_told: dict[bytes, tuple[Any, list[msgspec.Raw]]] = {}
    following: str | int | None = page.next
    size, reached = 0, command.after_seq
    for event, span in spans.ended(events):
        scope = span.pop("scope", {"name": "towerlog"})
        text = msgspec.json.encode(span)
        size += len(text)
        if scopes_told and size > MAX_TRACE_BYTES and event.seq != reached:
            following = reached
            break
        scopes_told.setdefault(msgspec.json.encode(scope), (scope, []))[1].append(msgspec.Raw(text))
        reached = event.seq
    told = spans.resource or {"service.name": "towerlog"}
    found = [{"scope": scope, "spans": some} for scope, some in scopes_told.values()]
    found = found or [{"scope": {"name": "towerlog"}, "spans": []}]
    reply = RunTrace([{"resource": {"attributes": told_attributes(told)}, "scopeSpans": found}])
    if following is None:
        return reply_json(reply)
    link = f'</api/v1/runs/{command.run_id}/otlp?after_seq={following}&limit={command.limit}>; rel="next"'
    return reply_json(reply, 200, ((b"link", link.encode("ascii")),))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/runs/{run_id}/otlp",
        "get_trace",
        "A run as spans of OpenTelemetry; of a long one a part, and the header `Link` leads to the next",
        scopes(Scope.READ),
        _decode_trace,
        _encode_trace,
        reply=RunTrace,
        query=TraceQuery,
        encodes_beside=True,
    ),
)
