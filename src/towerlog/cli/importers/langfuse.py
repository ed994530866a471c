"""Exports of Langfuse: traces with their observations, or observations alone, in the spelling of its API or of its
files. A trace is a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
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
    text_of,
    thread_of,
)
from towerlog.cli.importers.spans import Kind, Span, Trace, events_of
from towerlog.provider_usage.forms import BUCKETS, usage_of

NAME = "langfuse"
_KINDS: dict[str, Kind] = {"GENERATION": "model", "EMBEDDING": "model", "TOOL": "tool", "EVENT": "moment"}
"""Type of an observation → what it is; of every other type: a step."""
_OF_OBSERVATIONS = {"traceId", "type"}
_COSTS = {"inputCost", "outputCost", "totalCost"}
"""What the older `usage` has beside tokens."""
_UNDERSCORE = re.compile(r"_([a-z0-9])")


def recognizes(value: Any) -> bool:
    """Whether a value is of such a file."""
    if isinstance(value, list):
        return bool(value) and recognizes(value[0])
    one = object_of(value)
    if isinstance(one.get("data"), list):
        # A page of the API, which some save without what it says of its place.
        return recognizes(one["data"]) if one["data"] else "meta" in one
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
        told = list(observations.get(trace_id, {}).values())
        yield from _events_of(trace_id, traces.get(trace_id, {}), told, skipped)


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


def _events_of(
    trace_id: str, trace: Json, observations: list[Json], skipped: Callable[[str], None]
) -> Iterator[ImportedEvent]:
    spans = [_span_of(one, skipped) for one in observations]
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


def _span_of(one: Json, skipped: Callable[[str], None]) -> Span:
    kind = _KINDS.get(str(one.get("type")).upper(), "step")
    is_error = str(one.get("level")).upper() == "ERROR"
    figures = _figures(one, skipped) if kind == "model" else {}
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


def _figures(one: Json, skipped: Callable[[str], None]) -> Json:
    """Model, tokens and money of a call. `skipped` is told of figures that cannot be read."""
    model = text_of(one.get("model")) or text_of(one.get("providedModelName"))
    tokens = _tokens(one, skipped)
    return given(model=model, cost_usd=_cost(one, tokens, skipped), **tokens)


def _cost(one: Json, tokens: Json, skipped: Callable[[str], None]) -> str | None:
    """As it is told, else the sum of its parts where neither that of the input nor that of the output is missing."""
    older = object_of(one.get("usage"))
    details = object_of(one.get("costDetails")) or given(input=older.get("inputCost"), output=older.get("outputCost"))
    for value in (one.get("totalCost"), one.get("calculatedTotalCost"), details.get("total"), older.get("totalCost")):
        if value is not None:
            return dollars_of(value)
    parts = {name: Decimal(cost) for name, value in details.items() if (cost := dollars_of(value)) is not None}
    known = {_side_of(name) for name in parts}
    needed = {_side_of(name) for name, count in tokens.items() if name in BUCKETS and count} or {"input", "output"}
    if parts and not needed <= known:
        skipped("a part of a cost")
        return None
    return str(sum(parts.values())) if parts else None


def _side_of(kind: str) -> str:
    return "output" if kind.startswith(("output", "completion", "reasoning")) else "input"


def _tokens(one: Json, skipped: Callable[[str], None]) -> Json:
    """Tokens by their kinds, in whichever form the sender has told them."""
    usage = object_of(one.get("usageDetails"))
    if not any(value is not None for value in usage.values()):
        usage = object_of(one.get("usage"))
        if usage.get("unit") not in (None, "TOKENS"):
            return {}
        usage = {name: value for name, value in usage.items() if name not in _COSTS and name != "unit"}
    if not any(value is not None for value in usage.values()):
        counts = given(input=one.get("promptTokens"), output=one.get("completionTokens"), total=one.get("totalTokens"))
        # Where newer fields tell them, these are there with 0.
        usage = counts if any(counts.values()) else {}
    if not any(value is not None for value in usage.values()):
        return {}
    total = count_of(usage.get("total")) or None
    try:
        found = {name: value for name, value in usage_of(usage).items() if name != "cost_usd"}
    except (TypeError, ValueError, OverflowError):
        skipped("usage of an unknown form")
        return {}
    if total is not None and sum(found.get(bucket, 0) for bucket in BUCKETS) > total:
        # What the kinds are parts of nobody can tell.
        return {"total_tokens": total}
    return found if total is None else found | {"total_tokens": total}
