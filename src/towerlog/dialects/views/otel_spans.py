"""Events of a run as spans of OpenTelemetry, by the conventions for generative AI: for programs that draw traces.

What came in as a span goes out as that span. Anything else has ids that follow from the run's and from its place in it,
so that the same run is the same trace whenever it is asked for. A stretch is told when it has ended: a tool call with
its result, a run with its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from towerlog.dialects.fields import decode_any
from towerlog.dialects.views.event_members import event_members
from towerlog.model.event import TARGET_STATUS, Event, EventType
from towerlog.model.run import TERMINAL
from towerlog.model.span_figures import SpanFigures
from towerlog.model.usage import Usage, format_dollars
from towerlog.model.usage_parts import COUNTED_PARTS

Json = dict[str, Any]
_INTERNAL, _CLIENT = 1, 3
_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_OK, _ERROR = 1, 2
_OTLP = "otlp"
"""The dialect of what came in as a span."""
COST = "towerlog.cost_usd"
UNPRICED = "towerlog.unpriced_calls"
"""Calls in the figures of a span whose cost nobody knows: it is in no figure, and it is not 0."""
NANOS_PER_MS = 1_000_000
MAX_VALUE_DEPTH = 32
"""Levels of a value that go out as such; what is deeper goes out as its JSON."""
MAX_OPEN_CALLS, MAX_OPEN_STEPS = 1000, 100
"""Of a run that have no end yet: of more the oldest are forgotten, and begin as long before their end as it says."""
MAX_OPEN_BYTES = 8 * 1024 * 1024
"""Of those calls together, unless one is larger by itself."""
_MEMBERS = frozenset({"arguments", "result", "input"})
_REMOTE_PARENT = 0x300
"""Flags of a span whose parent is in another process."""
_USAGE_KIND = "usage"
"""As `towerlog.span.kind`: a span that has nothing but figures."""


class RunNames(msgspec.Struct, frozen=True):
    """What the spans of a run say of it beside its events."""

    agent: str | None = None
    thread_id: str | None = None
    agents: Mapping[int, str] = {}
    """The names of those that its events are of, by number."""
    ended_seq: int | None = None
    """The end that counts, where it has ended: an earlier one was a failure that it recovered from."""
    figures: SpanFigures = SpanFigures()
    """What its events tell of usage."""


class RunSpans:
    """Takes the events of a run in order, page after page: a span may begin in one page and end in another."""

    def __init__(self, run_id: str, names: RunNames = RunNames()) -> None:  # noqa: B008 frozen
        """At the beginning of the run."""
        self.found: list[Json] = []
        self.names = names
        self.resource: Json = {}
        """Attributes of the process, as far as the beginning of the run has told them."""
        self._trace_id = run_id.replace("-", "")
        self._root_id = self._trace_id[16:]
        self._run_id = run_id
        self._began: tuple[Event, Json] | None = None
        self._calls: dict[str, tuple[Event, Json]] = {}
        self._steps: dict[str, Event] = {}
        self._open_bytes = 0

    def ended(self, events: Iterable[Event]) -> Iterator[tuple[Event, Json]]:
        """The spans that end with the next events, each with the event that ends it."""
        for event in events:
            self.take(event)
            for span in self.found:
                yield event, span
            self.found.clear()

    def take(self, event: Event) -> None:
        """The next event."""
        kind, data = event.type, decode_any(event.data)
        data = data if isinstance(data, dict) else {}
        if kind is not EventType.MODEL_CALL:
            self._figures(event, data)
        if kind is EventType.RUN_STARTED:
            self._began = event, data
            resource = data.get("resource")
            self.resource = resource if isinstance(resource, dict) else self.resource
        elif TARGET_STATUS.get(kind) in TERMINAL:
            self._end(event, data)
        elif kind is EventType.TOOL_CALL:
            self._open(event, data)
        elif kind is EventType.STEP and event.facts.begins is not None:
            self._steps[event.facts.begins] = event
            if len(self._steps) > MAX_OPEN_STEPS:
                del self._steps[next(iter(self._steps))]
        elif kind in _TOLD:
            _TOLD[kind](self, event, data)

    def _open(self, event: Event, data: Json) -> None:
        """Keeps a call until its result. Of too many, or too large ones, the oldest is not kept."""
        call_id = event.facts.tool_call_id or ""
        self._called(call_id)
        self._calls[call_id] = event, data
        self._open_bytes += len(event.data)
        while len(self._calls) > MAX_OPEN_CALLS or (self._open_bytes > MAX_OPEN_BYTES and len(self._calls) > 1):
            self._called(next(iter(self._calls)))

    def _called(self, call_id: str) -> tuple[Event | None, Json]:
        """The call of this id, which is kept no longer."""
        event, data = self._calls.pop(call_id, (None, {}))
        self._open_bytes -= 0 if event is None else len(event.data)
        return event, data

    def _end(self, event: Event, data: Json) -> None:
        began, told = self._began or (None, {})
        if event.dialect == _OTLP and "attributes" not in data and "span_id" in data:
            return  # a call that is a run: its own event tells all of it
        if self.names.ended_seq not in (None, event.seq) and "span_id" not in data:
            return
        agent = self.names.agent
        name = data.get("name") or told.get("name") or (f"invoke_agent {agent}" if agent else "run")
        span = self._span(event, {**told, **data}, str(name), began)
        if "span_id" not in data:
            span |= {"spanId": self._root_id, "parentSpanId": ""}
            _add(span, self._about(event, data, began, told))
        elif began is not None and began.facts.parent_span_id and began.effects.parent_key is None:
            span["flags"] = _REMOTE_PARENT
        _add(span, {"towerlog.run.id": self._run_id})
        if event.type is not EventType.RUN_COMPLETED and "status" not in data:
            span["status"] = {"code": _ERROR, "message": event.facts.error or event.type.value}
        self.found.append(span)

    def _about(self, event: Event, data: Json, began: Event | None, told: Json) -> Json:
        """What a run is that did not come in as a span."""
        given = event_members(began).get("input", told.get("input")) if began is not None else None
        produced = event_members(event).get("result", data.get("result"))
        return {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": self.names.agent,
            "gen_ai.conversation.id": self.names.thread_id,
            "input.value": _as_text(_opened(given)),
            "output.value": _as_text(_opened(produced)),
        }

    def _figures(self, event: Event, data: Json) -> None:
        """What an event that is no model call has added to what its run has used: totals, mostly."""
        spent = None if "attributes" in data else self.names.figures.of(event)
        figures = {} if spent is None else self._usage_of(event, spent)
        if not any(figures.values()):
            return
        recount = event.effects.recount
        model = event.effects.model if recount is None else recount.model or None
        span = self._span(event, {}, "usage", None)
        span |= {"traceId": self._trace_id, "spanId": _made_id(self._run_id, event.seq, _USAGE_KIND)}
        _add(span, {"towerlog.span.kind": _USAGE_KIND, "gen_ai.request.model": model} | figures)
        _add(span, {"gen_ai.agent.name": self.names.agents.get(event.agent)})
        self.found.append(span)

    def _usage_of(self, event: Event, usage: Usage) -> Json:
        figures = {
            "gen_ai.usage.input_tokens": usage.all_input_tokens(),
            "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
            "gen_ai.usage.output_tokens": usage.all_output_tokens(),
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
            "gen_ai.usage.total_tokens": usage.total_tokens,
        }
        found: Json = {name: figure for name, figure in figures.items() if figure is not None and figure >= 0}
        report = event.effects.report
        parts = None if report is None else report.parts_to_price()
        if parts is not None:
            told = {name: getattr(parts, name) for name in COUNTED_PARTS} | {"service_tier": parts.tier}
            found |= {f"towerlog.usage.{name}": one for name, one in told.items() if one is not None}
        found |= _unpriced(usage)
        cost = usage.cost_nanos
        return found if cost is None or cost < 0 else found | {COST: float(format_dollars(cost))}

    def _tool(self, event: Event, data: Json) -> None:
        called, told = self._called(event.facts.tool_call_id or "")
        span = self._span(event, {**told, **data}, f"execute_tool {event.facts.tool or ''}".strip(), called)
        if "attributes" not in data:
            members = event_members(event)
            asked = told.get("arguments", told.get("input"))
            _add(
                span,
                {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": event.facts.tool,
                    "gen_ai.tool.call.id": event.facts.tool_call_id,
                    "gen_ai.tool.call.arguments": asked,
                    "gen_ai.tool.call.result": _opened(members.get("result", data.get("result"))),
                },
            )
        if event.facts.success is False and "status" not in data:
            span["status"] = {"code": _ERROR, "message": str(event_members(event).get("error") or "failed")}
        self.found.append(span)

    def _call(self, event: Event, data: Json) -> None:
        effects = event.effects
        span = self._span(event, data, f"chat {effects.model or ''}".strip(), None)
        if "attributes" not in data:
            span["kind"] = _CLIENT
            told = self.names.figures.of(event) or effects.told_or_computed()
            about = {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": effects.provider,
                "gen_ai.request.model": effects.model,
                "gen_ai.response.model": effects.model,
                "gen_ai.agent.name": self.names.agents.get(event.agent),
            }
            _add(span, about | self._usage_of(event, told))
        else:
            # Of a call above others, with what those cost: it counts what exceeds that.
            cost, counted = self.names.figures.cost_of_span(event), self.names.figures.of(event)
            _add(span, _unpriced(counted) if cost is None else {COST: float(format_dollars(cost))})
        if event.facts.success is False and "status" not in data:
            span["status"] = {"code": _ERROR, "message": event.facts.name or "failed"}
        self.found.append(span)

    def _step(self, event: Event, data: Json) -> None:
        began = self._steps.pop(event.facts.ends or "", None)
        name = data.get("name") or event_members(event).get("name") or "step"
        self.found.append(self._span(event, data, str(name), began))

    def _span(self, event: Event, data: Json, name: str, began: Event | None) -> Json:
        """A span that ends with an event; it began with another, or as long ago as it says, or then."""
        ended = _nanos(data.get("end_time_unix_nano")) or event.happened_at() * NANOS_PER_MS
        begun = _nanos(data.get("start_time_unix_nano"))
        if not begun and began is not None:
            begun = began.happened_at() * NANOS_PER_MS
        begun = begun or ended - (event.facts.duration_ms or 0) * NANOS_PER_MS
        span_id, trace_id = data.get("span_id"), _hex(data.get("trace_id"), 32) or self._trace_id
        # A span that came in as one, or is of another trace, is told without a parent where it has none.
        is_root = bool(span_id) and (event.dialect == _OTLP or trace_id != self._trace_id)
        span: Json = {
            "traceId": trace_id,
            "spanId": _hex(span_id, 16) or _made_id(self._run_id, event.seq),
            "parentSpanId": _hex(data.get("parent_span_id"), 16) or ("" if is_root else self._root_id),
            "name": str(data.get("name") or name),
            "kind": _KINDS.get(str(data.get("kind")), _INTERNAL),
            "startTimeUnixNano": str(min(begun, ended)),
            "endTimeUnixNano": str(ended),
            "attributes": [],
            "status": {"code": _OK},
        }
        attributes = data.get("attributes")
        if isinstance(attributes, dict):
            _add(span, attributes, as_told=True)
            _add(span, _restored(data))
            if event.dialect == _OTLP:
                if "end_time_unix_nano" in data:  # whatever clocks have said: it is known by this when it comes back
                    span |= {"startTimeUnixNano": str(_nanos(data.get("start_time_unix_nano")))}
                    span |= {"endTimeUnixNano": str(_nanos(data["end_time_unix_nano"]))}
                span |= {"kind": _KINDS.get(str(data.get("kind")), 0), "status": {}}
        span["events"] = _events(data.get("events"))
        if isinstance(data.get("scope"), dict):
            span["scope"] = data["scope"]
        if isinstance(data.get("trace_state"), str):
            span["traceState"] = data["trace_state"]
        if links := _links(data.get("links")):
            span["links"] = links
        status = data.get("status")
        if isinstance(status, dict) and isinstance(status.get("code"), int):
            span["status"] = {"code": status["code"], "message": str(status.get("message") or "")}
        return span


_TOLD: dict[EventType, Callable[[RunSpans, Event, Json], None]] = {
    EventType.TOOL_RESULT: RunSpans._tool,
    EventType.MODEL_CALL: RunSpans._call,
    EventType.STEP: RunSpans._step,
}


def _unpriced(usage: Usage | None) -> Json:
    """A mark for programs that add up costs: a span without one is not free."""
    return {UNPRICED: usage.unpriced_calls} if usage is not None and usage.unpriced_calls else {}


def _events(told: Any) -> list[Json]:
    """What happened in a span, where it came in as one."""
    found: list[Json] = []
    for one in told if isinstance(told, list) else ():
        if isinstance(one, dict):
            event: Json = {"timeUnixNano": str(_nanos(one.get("time_unix_nano"))), "name": str(one.get("name") or "")}
            attributes = one.get("attributes")
            event["attributes"] = []
            _add(event, attributes if isinstance(attributes, dict) else {}, as_told=True)
            found.append(event)
    return found


def _links(told: Any) -> list[Json]:
    """Other spans that a span has named, where it came in as one."""
    found: list[Json] = []
    for one in told if isinstance(told, list) else ():
        if isinstance(one, dict) and _hex(one.get("trace_id"), 32) and _hex(one.get("span_id"), 16):
            link: Json = {"traceId": one["trace_id"], "spanId": one["span_id"], "attributes": []}
            attributes = one.get("attributes")
            _add(link, attributes if isinstance(attributes, dict) else {}, as_told=True)
            found.append(link)
    return found


def _restored(data: Json) -> Json:
    """Attributes that stand in the data under another name, under their own."""
    sources = data.get("sources")
    if not isinstance(sources, dict):
        return {}
    return {
        name: _as_text(data[member])
        for member, name in sources.items()
        if member in _MEMBERS and isinstance(name, str) and member in data
    }


def _add(span: Json, attributes: Json, *, as_told: bool = False) -> None:
    """Adds attributes that are known, and that the span does not have. `as_told`: an object stays one."""
    known = {one["key"] for one in span["attributes"]}
    for name, value in attributes.items():
        if value is not None and name not in known:
            told = _told_value(value) if as_told else _value(_text_of(value))
            span["attributes"].append({"key": name, "value": told})


def told_attributes(attributes: Json) -> list[Json]:
    """Attributes of a process, as they were told."""
    return [{"key": name, "value": _told_value(value)} for name, value in attributes.items()]


def _told_value(value: Any, depth: int = 0) -> Json:
    """A value as it came in."""
    if depth < MAX_VALUE_DEPTH and isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": k, "value": _told_value(v, depth + 1)} for k, v in value.items()]}}
    if depth < MAX_VALUE_DEPTH and isinstance(value, list):
        return {"arrayValue": {"values": [_told_value(one, depth + 1) for one in value]}}
    if value is None:
        return {}
    return _value(_text_of(value), MAX_VALUE_DEPTH)


def _as_text(value: Any) -> Any:
    """A value of JSON as its text; a text as it is."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _text_of(value: Any) -> Any:
    """What the conventions have as text of JSON."""
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else value


def _value(value: Any, depth: int = 0) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list) and depth < MAX_VALUE_DEPTH:
        return {"arrayValue": {"values": [_value(_text_of(one), depth + 1) for one in value]}}
    return {"stringValue": value if isinstance(value, str) else str(value)}


def _opened(value: Any) -> Any:
    return decode_any(bytes(value)) if isinstance(value, msgspec.Raw) else value


def _nanos(value: Any) -> int:
    return int(value) if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit() else 0


def _hex(value: Any, digits: int) -> str:
    is_hex = isinstance(value, str) and len(value) == digits and all(one in "0123456789abcdef" for one in value)
    return str(value) if is_hex else ""


def _made_id(run_id: str, seq: int, of: str = "") -> str:
    return hashlib.blake2b(f"{run_id}:{seq}{of}".encode(), digest_size=8).hexdigest()
