"""What spans become: the beginning and the end of runs, tool calls and their results, model calls, steps.

The data of an event is what its span says, attributes under the names that its sender gave them. What readers find
under one name (a tool's arguments and result, what a run was given and has produced) stands under that, once, and
`sources` says which attribute it was.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from towerlog.dialects.base import Call
from towerlog.dialects.otlp import lookups, names
from towerlog.dialects.otlp.figures import usage as figures
from towerlog.dialects.otlp.forms import MASK
from towerlog.dialects.otlp.masks import (
    Suspects,
    Suspicions,
    masked,
    masked_id,
    masked_text,
    names_secret,
    suspects_in,
)
from towerlog.dialects.otlp.spans import KINDS, SpanSource, ToldSpan
from towerlog.dialects.otlp.trees import SpanNode, Trace
from towerlog.dialects.otlp.values import MAX_NANOS, opened
from towerlog.errors import TooLarge
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.event import Draft, EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.span import RESPONSE
from towerlog.model.usage import UsageReport

MAX_SHARED_BYTES = 16 * 1024
"""Of the attributes of a process in the beginning of each of its runs; larger ones are left out there."""
TIMES_THE_BODY = 4
BYTES_AT_LEAST = 1024 * 1024
FREE_BYTES = 1024
"""Bytes that the events of a request may have together: so many times its own, and these; an event counts with what it
has beyond the last of these."""
MAX_RESPONSE_CHARS = 128
"""Of the id of a response as part of the id of its event; a longer one stands there by a digest."""
_ENCODE = msgspec.json.Encoder().encode
_STARTED, _COMPLETED, _FAILED = EventType.RUN_STARTED, EventType.RUN_COMPLETED, EventType.RUN_FAILED
_TOOL_CALL, _TOOL_RESULT = EventType.TOOL_CALL, EventType.TOOL_RESULT
_MODEL_CALL, _STEP = EventType.MODEL_CALL, EventType.STEP
_WITH_MEMBERS = (dict, list)


class Storing:
    """How the events of a request are stored, and how much of it still is."""

    def __init__(self, call: Call) -> None:
        """Of this request."""
        self.largest = call.settings.max_event_bytes
        self.suspects: Suspects = suspects_in(call.body, call.pause)
        """What its events are looked through for."""
        self.suspicions = Suspicions(call.pause)
        self._left = BYTES_AT_LEAST + TIMES_THE_BODY * len(call.body)
        self._resources: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

    def take(self, size: int) -> None:
        """One more event of so many bytes. Raises TooLarge past what the events of its request may have together."""
        self._left -= max(0, size - FREE_BYTES)
        if self._left < 0:
            raise TooLarge(
                f"is beyond what the events of a request may have together: {TIMES_THE_BODY} times its bytes, "
                f"and {BYTES_AT_LEAST} more"
            )

    def resource(self, source: SpanSource) -> dict[str, Any]:
        """What the beginnings of runs say of the process: as many of its attributes as fit, and how many do not."""
        resource = source.resource
        found = self._resources.get(id(resource))
        if found is None:
            found = self._resources[id(resource)] = (resource, _shared(resource))
        return found[1]


def _shared(resource: dict[str, Any]) -> dict[str, Any]:
    """Members that tell of a process. It is repeated in each run of its request, and so is bounded."""
    kept: dict[str, Any] = {}
    left = MAX_SHARED_BYTES
    for name, value in resource.items():
        size = len(_ENCODE({name: value}))
        if size <= left:
            left -= size
            kept[name] = value
    left_out = len(resource) - len(kept)
    told = {"resource": msgspec.Raw(_ENCODE(clean(kept)))}
    return told | {"resource_left_out": left_out} if left_out else told


Placed = tuple[int, int, Draft]
"""When a draft is told of among those of its request, in ns; at one time what begins a run first; the draft."""


def clean(attributes: dict[str, Any], without: tuple[str | None, ...] = ()) -> dict[str, Any]:
    """Attributes to be stored: without some that stand elsewhere, and with those masked that are named for secrets."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        if not names_secret(name):
            found[name] = masked(value) if type(value) in _WITH_MEMBERS else value
        else:
            found[name] = value if value is None or isinstance(value, bool) else MASK
    for left_out in (*without, *names.OURS):
        if left_out is not None:
            found.pop(left_out, None)
    return found


def drafts_of(node: SpanNode, trace: Trace, storing: Storing) -> list[Placed]:
    """What a span becomes. Raises TowerlogError for one that cannot be stored."""
    made = _Made(node, trace, storing)
    if node.begins_run:
        return [made.start(), *made.inside(), made.end()]
    return made.inside() or [made.step()]


class _Made:
    """Makes the drafts of one span."""

    def __init__(self, node: SpanNode, trace: Trace, storing: Storing) -> None:
        self.node, self.span, self._trace = node, node.span, trace
        self._storing = storing
        self._service = self.span.source.service
        self._run = trace.run_of(node)
        self._agent = trace.agent_of(node)
        self._place = trace.place_of(node)

    def inside(self) -> list[Placed]:
        """What it is beside the run that it may begin."""
        if self.node.kind == names.TOOL:
            return self.tool()
        return [self.call()] if self.node.kind == names.MODEL else []

    def start(self) -> Placed:
        """The beginning of a run."""
        span = self.span
        given = lookups.place_of(span.attributes, span.present.input)
        told = self._names()
        if given is not None:
            told["input"] = _content(span.attributes[given])
        if span.source.resource:
            told |= self._storing.resource(span.source)
        about = {"trace_id": span.trace_id, "service": self._service}
        metadata = {"otel": {name: value for name, value in about.items() if value}}
        effects = Effects(
            is_start=True, parent_key=self._trace.parent_key(self.node), metadata=msgspec.Raw(_ENCODE(metadata))
        )
        draft = self._draft(
            _STARTED,
            told,
            Facts(parent_span_id=span.parent_id or None, effects=effects),
            span.start_ms,
            f"{span.span_id}.start",
        )
        # Whatever clocks say: a run begins before what is told of it.
        return min(self.node.first or span.start, span.start), 0 if self.node.is_root else 1, draft

    def end(self) -> Placed:
        """The end of a run."""
        span, attributes = self.span, self.span.attributes
        if self.node.kind in (names.TOOL, names.MODEL):
            # Its own event says all this.
            told = self._names()
        else:
            given = lookups.place_of(attributes, span.present.input)
            produced = lookups.place_of(attributes, span.present.output)
            told = self._whole((given, produced), {"input": given, "result": produced})
            if produced is not None:
                told["result"] = _content(attributes[produced])
        failed = lookups.failed(span)
        facts = Facts(error=_error_of(span), success=False) if failed else Facts(success=True)
        draft = self._draft(_FAILED if failed else _COMPLETED, told, facts, span.end_ms, f"{span.span_id}.end")
        # A run without a time of its end ends behind all that is told of it, and none ends before it begins.
        return max(span.start, span.end) if span.end else 2 * MAX_NANOS, 9 if self.node.is_root else 8, draft

    def tool(self) -> list[Placed]:
        """A call of a tool, and its result."""
        span, attributes, present = self.span, self.span.attributes, self.span.present
        tool = lookups.label(attributes, present.tool_name) or lookups.named(span.name.removeprefix("execute_tool "))
        call_id = lookups.text(attributes, present.tool_call_id, 8192) or span.span_id
        asked = lookups.place_of(attributes, present.arguments)
        answered = lookups.place_of(attributes, present.result)
        called = self._names() | {"tool": tool, "tool_call_id": call_id}
        if asked is not None:
            called["arguments"] = _content(attributes[asked])
        facts = Facts(tool=tool or None, tool_call_id=call_id, parent_span_id=span.parent_id or None)
        call = self._draft(_TOOL_CALL, called, facts, span.start_ms, f"{span.span_id}.call")
        failed = lookups.failed(span)
        told = self._whole((asked, answered), {"arguments": asked, "result": answered})
        told |= {"tool": tool, "tool_call_id": call_id, "success": not failed}
        if answered is not None:
            told["result"] = _content(attributes[answered])
        if failed:
            told["error"] = _error_of(span)
        facts = msgspec.structs.replace(facts, success=not failed, duration_ms=span.duration_ms)
        result = self._draft(_TOOL_RESULT, told, facts, span.end_ms, span.span_id)
        return [(span.start, 4, call), (span.end, 5, result)]

    def call(self) -> Placed:
        """A call of a model; a step where another span has told of its response."""
        node, span = self.node, self.span
        attributes = span.attributes
        failed = lookups.failed(span)
        model = lookups.model_of(span)
        told = self._whole((), {})
        told |= {"model": model, "response_id": None if node.is_lent else node.response_id}
        finish = lookups.first(attributes, span.present.finish_reason)
        if finish is not None:
            told["finish_reason"] = finish[0] if isinstance(finish, list) and len(finish) == 1 else finish
        if failed:
            told["error"] = _error_of(span)
        unused = figures.unused_costs(span) if node.usage.cost_nanos is None else None
        if unused:
            told["towerlog_invalid"] = {**told.get("towerlog_invalid", {}), **unused}
        facts = Facts(
            name=lookups.call_name(span) if failed else None,
            success=not failed,
            duration_ms=span.duration_ms,
            parent_span_id=span.parent_id or None,
            effects=Effects(
                report=UsageReport(node.usage, "delta", parts=figures.parts_of(span)),
                model=model,
                provider=lookups.provider_of(span),
            ),
        )
        draft = self._draft(_MODEL_CALL, told, facts, span.end_ms, span.span_id)
        # One without figures does not stand in the place of another that comes later and has them.
        if node.response_id is not None and (node.has_figures or not node.counts):
            twin = msgspec.structs.replace(draft, type=_STEP, facts=self._step_facts())
            draft = msgspec.structs.replace(draft, event_id=_response_key(node.response_id), otherwise=twin)
            if node.has_figures and lookups.is_of_one_response(node.response_id):
                place = msgspec.structs.replace(self._place, response=draft.event_id)
                draft = msgspec.structs.replace(draft, span=place)
        return node.told_at, 5 if node.counts else 6, draft

    def step(self) -> Placed:
        """Anything else."""
        told = self._whole((), {})
        draft = self._draft(_STEP, told, self._step_facts(), self.span.end_ms, self.span.span_id)
        return self.span.end, 5, draft

    def _step_facts(self) -> Facts:
        return Facts(duration_ms=self.span.duration_ms, parent_span_id=self.span.parent_id or None)

    def _names(self) -> dict[str, Any]:
        """What names the span."""
        span = self.span
        told: dict[str, Any] = {"name": span.name, "trace_id": span.trace_id, "span_id": span.span_id}
        if span.parent_id:
            told["parent_span_id"] = span.parent_id
        if span.unused:
            told["towerlog_invalid"] = span.unused
        return told

    def _whole(self, without: tuple[str | None, ...], sources: dict[str, str | None]) -> dict[str, Any]:
        """All that the span says, without attributes that stand elsewhere."""
        span, told = self.span, self._names()
        if 0 < span.kind < len(KINDS):
            told["kind"] = KINDS[span.kind]
        told["start_time_unix_nano"], told["end_time_unix_nano"] = str(span.start), str(span.end)
        if span.code or span.message:
            told["status"] = {"code": span.code, "message": span.message}
        told["attributes"] = clean(span.attributes, without)
        if sources:
            named = {name: source for name, source in sources.items() if source is not None}
            if named:
                told["sources"] = named
        if span.events:
            told["events"] = [masked_event(event) for event in span.events]
        if span.links:
            told["links"] = [masked_event(link) for link in span.links]
        if span.trace_state:
            told["trace_state"] = span.trace_state
        if span.source.scope:
            told["scope"] = span.source.scope
        if self._service is not None:
            told["service"] = self._service
        return told

    def _draft(self, kind: EventType, told: dict[str, Any], facts: Facts, at_ms: int | None, event_id: str) -> Draft:
        data, run, agent, default = encoded(told, self._storing), self._run, self._agent, self._service or DEFAULT_AGENT
        part, place = kind is not _STARTED, self._place
        # By place: by name it takes twice as long.
        return Draft(
            kind, run, data, facts, at_ms, event_id, None, agent, default, None, b"", b"", None, part, place,
        )  # fmt: skip


def masked_event(event: dict[str, Any]) -> dict[str, Any]:
    """An event of a span, or a link, to be stored."""
    attributes = event.get("attributes")
    return event if not attributes else event | {"attributes": clean(attributes)}


def encoded(told: dict[str, Any], storing: Storing) -> bytes:
    """The data of an event. Raises TooLarge, and Invalid for what is nested too deeply."""
    data = masked_text(_ENCODE(told), storing.suspects, storing.suspicions)
    if len(data) > storing.largest:
        raise TooLarge(f"is larger than {storing.largest} bytes")
    storing.take(len(data))
    return data


def _error_of(span: ToldSpan) -> str:
    return masked_text(lookups.error_of(span).encode()).decode()


def _content(value: Any) -> Any:
    """A text that is JSON, as JSON; members masked that are named for secrets."""
    return masked(opened(value))


def _response_key(response_id: str) -> str:
    """The id of a model call's event: the same for all spans that tell of one response."""
    if len(response_id) > MAX_RESPONSE_CHARS or not response_id.isprintable():
        response_id = hashlib.blake2b(response_id.encode(), digest_size=16).hexdigest()
    return RESPONSE + masked_id(response_id)
