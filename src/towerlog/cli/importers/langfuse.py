"""Exports of Langfuse: traces with their observations, or observations alone, in the spelling of its API or of its
files. A trace is a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from towerlog.cli.importers.events import (
    ImportedEvent,
    Json,
    RunReader,
    Values,
    count_of,
    dollars_of,
    given,
    key_of,
    list_of,
    name_of,
    object_of,
    part_of,
    parts_of,
    text_of,
    thread_of,
)
from towerlog.cli.importers.spans import Kind, Span, Trace, events_of

NAME = "langfuse"
_KINDS: dict[str, Kind] = {"GENERATION": "model", "EMBEDDING": "model", "TOOL": "tool", "EVENT": "moment"}
"""Type of an observation → what it is; of every other type: a step."""
_OF_OBSERVATIONS = {"traceId", "type"}
_UNDERSCORE = re.compile(r"_([a-z0-9])")
_CACHE_READ = ("input_cached_tokens", "cache_read_input_tokens", "input_cache_read", "input_cached")
_CACHE_WRITE = ("cache_creation_input_tokens", "input_cache_creation", "input_cache_write")
_REASONING = ("output_reasoning_tokens", "output_reasoning", "reasoning_tokens")


def recognizes(value: Any) -> bool:
    """Whether a value is of such a file."""
    if isinstance(value, list):
        return bool(value) and recognizes(value[0])
    one = object_of(value)
    if isinstance(one.get("data"), list) and "meta" in one:
        return recognizes(one["data"]) or not one["data"]
    found = _in_camels(one)
    is_trace = "id" in found and "timestamp" in found and bool({"sessionId", "observations", "userId"} & set(found))
    return is_trace or ("id" in found and set(found) >= _OF_OBSERVATIONS and "startTime" in found)


def read(values: Callable[[], Values], skipped: Callable[[str], None]) -> Iterator[ImportedEvent]:
    """The events of a file. `skipped` is told of what is neither a trace nor an observation."""
    traces: dict[str, Json] = {}
    observations: dict[str, dict[str, Json]] = {}
    for one in _records(values(), skipped):
        record = _in_camels(one)
        if set(record) >= _OF_OBSERVATIONS:
            _keep(observations, str(record["traceId"]), record)
        elif "id" in record and "timestamp" in record:
            traces[str(record["id"])] = record
            for inner in list_of(record.get("observations")):
                if isinstance(inner, dict):  # a list of traces names them by their ids alone
                    _keep(observations, str(record["id"]), _in_camels(inner))
        else:
            skipped("neither a trace nor an observation")
    for trace_id in dict.fromkeys([*traces, *observations]):
        yield from _events_of(trace_id, traces.get(trace_id, {}), list(observations.get(trace_id, {}).values()))


def _keep(observations: dict[str, dict[str, Json]], trace_id: str, record: Json) -> None:
    observations.setdefault(trace_id, {})[str(record.get("id"))] = record


def _records(values: Values, skipped: Callable[[str], None]) -> Iterator[Json]:
    """The objects of a file: a line each, a list of them, or pages of the API."""
    for _, value in values:
        inner = object_of(value).get("data")
        found = value if isinstance(value, list) else inner if isinstance(inner, list) else [value]
        for one in found:
            if isinstance(one, dict):
                yield one
            else:
                skipped("no object")


def _in_camels(record: Json) -> Json:
    """Names as the API has them: files write them with underscores."""
    return {_UNDERSCORE.sub(lambda found: found[1].upper(), name): value for name, value in record.items()}


def _events_of(trace_id: str, trace: Json, observations: list[Json]) -> Iterator[ImportedEvent]:
    spans = [_span_of(one) for one in observations]
    known = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_id not in known]
    root = roots[0] if len(roots) == 1 else None
    name = name_of(trace.get("name"), root.name if root is not None else NAME)
    # Observations alone do not know their session: a thread that they named would be the first, and stay.
    thread = thread_of(trace.get("sessionId")) or (thread_of(trace_id) if trace else None)
    run = RunReader(key_of(NAME, trace_id), name, thread)
    metadata = given(
        imported_from=NAME,
        trace_id=trace_id,
        user_id=text_of(trace.get("userId")),
        release=text_of(trace.get("release")),
        environment=text_of(trace.get("environment")),
        tags=list_of(trace.get("tags")) or None,
        metadata=trace.get("metadata") or None,
    )
    failure = next((span.error for span in roots if span.error is not None), None)
    yield from events_of(
        run,
        Trace(
            trace_id=trace_id,
            start=text_of(trace.get("timestamp")),
            end=None,
            input=trace.get("input", None if root is None else root.input),
            output=trace.get("output", None if root is None else root.output),
            error=failure,
            metadata=metadata,
            goes_on=trace.get("output") is None and any(span.goes_on for span in roots),
        ),
        spans,
    )


def _span_of(one: Json) -> Span:
    kind = _KINDS.get(str(one.get("type")).upper(), "step")
    is_error = str(one.get("level")).upper() == "ERROR"
    figures = _figures(one) if kind == "model" else {}
    # What goes on is told with zeros. What was told of a call that nobody has ended will not change any more.
    is_told = any(type(count) is int and count for count in figures.values())
    return Span(
        span_id=str(one.get("id")),
        parent_id=text_of(one.get("parentObservationId")),
        kind=kind,
        name=name_of(one.get("name"), str(one.get("type") or "step").lower()),
        start=text_of(one.get("startTime")),
        end=text_of(one.get("endTime")),
        input=one.get("input"),
        output=one.get("output"),
        error=(text_of(one.get("statusMessage")) or "failed") if is_error else None,
        figures=figures,
        goes_on=text_of(one.get("endTime")) is None and kind != "moment" and not (is_error or is_told),
    )


def _figures(one: Json) -> Json:
    cost = object_of(one.get("costDetails")).get("total")
    told = next(
        (value for value in (one.get("totalCost"), one.get("calculatedTotalCost"), cost) if value is not None), None
    )
    model = text_of(one.get("model")) or text_of(one.get("providedModelName"))
    return given(model=model, cost_usd=dollars_of(told), **_tokens(one))


def _tokens(one: Json) -> Json:
    """Tokens by kinds, of which none holds another. What kinds there are is told by their sum: whoever tells details of
    the input may count them in it or beside it."""
    details = {
        name: count
        for name, value in object_of(one.get("usageDetails")).items()
        if (count := count_of(value)) is not None
    }
    if not details:
        usage = object_of(one.get("usage"))
        if usage.get("unit") not in (None, "TOKENS"):
            return {}
        details = {
            name: count for name in ("input", "output", "total") if (count := count_of(usage.get(name))) is not None
        }
    total = details.pop("total", None)
    sent, written = details.get("input"), details.get("output")
    cached, made, reasoned = (_first(details, names) for names in (_CACHE_READ, _CACHE_WRITE, _REASONING))
    if len(details) > len({"input", "output"} & set(details)):
        if total == (sent or 0) + (written or 0):
            sent, written = part_of(sent, cached, made), part_of(written, reasoned)
        elif total != sum(details.values()):
            # Whether the details are parts of the input or stand beside it nobody can tell.
            return given(total_tokens=total)
    return given(
        input_tokens=sent,
        cached_input_tokens=cached,
        cache_write_tokens=made,
        output_tokens=written,
        reasoning_tokens=reasoned,
        total_tokens=total,
        **parts_of(details),
    )


def _first(details: Json, names: tuple[str, ...]) -> int | None:
    return next((details[name] for name in names if name in details), None)
