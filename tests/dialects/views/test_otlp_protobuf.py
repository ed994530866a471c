"""Spans in protobuf say what they say in JSON, by OTLP's own reader, and have a bounded size."""

from __future__ import annotations

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.factories import event, facts_of
from tests.support.otlp import as_protobuf
from towerlog.dialects.views.otel_spans import MAX_OPEN_BYTES, MAX_OPEN_CALLS, RunNames, RunSpans
from towerlog.dialects.views.otlp_protobuf import MAX_SPAN_BYTES, Json, PartialSuccess, rejected, request_of, span_bytes
from towerlog.model.event import Event, EventType

RUN = "00000000-0000-7000-8000-000000000001"
ORG = "00000000-0000-7000-8000-0000000000aa"
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
members = st.sampled_from(
    ["name", "kind", "status", "attributes", "events", "trace_id", "span_id", "parent_span_id", "start_time_unix_nano",
     "end_time_unix_nano", "arguments", "result", "sources", "error", "usage"]
)  # fmt: skip
ENDS = (EventType.RUN_COMPLETED, EventType.RUN_FAILED)
MOVES = (EventType.TOOL_RESULT, EventType.MODEL_CALL, EventType.STEP, *ENDS)


def one(kind: EventType, data: Json, seq: int = 2, **facts: object) -> Event:
    return event(seq, seq, type=kind, data=msgspec.json.encode(data), facts=facts_of(**facts))


def request(spans: list[Json]) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(request_of(ORG, [span_bytes(span) for span in spans]))


@given(st.sampled_from(MOVES), st.sampled_from(["native", "otlp"]), st.dictionaries(members, json_values, max_size=8))
@example(EventType.STEP, "otlp", {"attributes": {}, "span_id": "cd" * 8})
def test_whatever_an_event_holds_its_span_can_be_sent(kind: EventType, dialect: str, data: Json) -> None:
    told = msgspec.structs.replace(one(kind, data), dialect=dialect)
    spans = [span for _, span in RunSpans(RUN).ended([told])]
    [resource] = request(spans).resource_spans
    # The end of a call that is a run: its own event tells all of it.
    is_told = kind in ENDS and dialect == "otlp" and "span_id" in data and "attributes" not in data
    assert len(resource.scope_spans[0].spans) == len(spans) == int(not is_told)


def test_a_span_says_what_it_says_in_json() -> None:
    started = one(EventType.RUN_STARTED, {"input": "weather?"}, 1)
    called = one(EventType.TOOL_CALL, {"arguments": {"path": ["/", 1, 2.5, True]}}, 2, tool="ls", tool_call_id="c")
    answered = one(EventType.TOOL_RESULT, {"result": "no"}, 3, tool="ls", tool_call_id="c", success=False)
    happened = [{"time_unix_nano": "17", "name": "retry", "attributes": {"n": 2}}]
    traced = {"trace_id": "ab" * 16, "span_id": "cd" * 8, "parent_span_id": "ef" * 8, "kind": "server"}
    step = one(EventType.STEP, {**traced, "name": "plan", "events": happened, "status": {"code": 2, "message": "x"}}, 4)
    ended = one(EventType.RUN_COMPLETED, {}, 5)
    spans = [span for _, span in RunSpans(RUN).ended([started, called, answered, step, ended])]
    assert len(spans) == 3
    about = [{"key": "service.name", "value": {"stringValue": "towerlog"}}]
    about += [{"key": "towerlog.org.id", "value": {"stringValue": ORG}}]
    scopes = [{"scope": {"name": "towerlog"}, "spans": spans}]
    shown = {"resourceSpans": [{"resource": {"attributes": about}, "scopeSpans": scopes}]}
    assert request(spans) == ExportTraceServiceRequest.FromString(as_protobuf("/v1/traces", shown))


def test_a_span_that_is_too_large_goes_without_its_longest_attributes() -> None:
    attributes = {f"a{number}": "x" * 100_000 for number in range(12)} | {"small": 1}
    happened = [{"name": "y" * 1000} for _ in range(2000)]
    for data in ({"attributes": attributes}, {"attributes": {"small": 1}, "events": happened}):
        [(_, span)] = RunSpans(RUN).ended([one(EventType.STEP, data)])
        whole = span_bytes(span)
        assert len(whole) < MAX_SPAN_BYTES + 4096
        [made] = ExportTraceServiceRequest.FromString(request_of(ORG, [whole])).resource_spans[0].scope_spans[0].spans
        told = {pair.key: pair.value.int_value for pair in made.attributes}
        assert "towerlog.attributes_left_out" in told


def test_a_run_that_recovered_is_told_by_the_end_that_counts() -> None:
    """An error that was told before the outcome was known ends nothing; nor does what comes after the end."""
    events = [
        one(EventType.RUN_STARTED, {}, 1),
        one(EventType.RUN_FAILED, {}, 2, error="E: boom"),
        one(EventType.RUN_COMPLETED, {"result": "fine"}, 3),
        one(EventType.RUN_FAILED, {}, 4, error="late"),
    ]
    [(told, root)] = RunSpans(RUN, RunNames(ended_seq=3)).ended(events)
    assert (told.seq, root["status"]) == (3, {"code": 1})


def test_calls_without_an_end_are_kept_within_bounds() -> None:
    def spans(calls: int, size: int) -> list[str]:
        events = [
            one(EventType.TOOL_CALL, {"arguments": f"{number}".ljust(size)}, number, tool_call_id=f"c{number}")
            for number in range(1, calls + 1)
        ]
        results = [one(EventType.TOOL_RESULT, {}, calls + n, tool_call_id=f"c{n}") for n in range(1, calls + 1)]
        found = []
        for _, span in RunSpans(RUN).ended([*events, *results]):
            told = {pair["key"]: pair["value"].get("stringValue", "") for pair in span["attributes"]}
            found.append(told.get("gen_ai.tool.call.arguments", "").strip())
        return found

    assert [text for text in spans(MAX_OPEN_CALLS + 3, 1) if not text] == ["", "", ""]
    few = spans(10, MAX_OPEN_BYTES // 4)
    assert few[-3:] == ["8", "9", "10"]
    assert few[:-3] == [""] * 7


def test_what_a_collector_rejects_is_read() -> None:
    told = ExportTracePartialSuccess(rejected_spans=3, error_message="late")
    assert rejected(ExportTraceServiceResponse(partial_success=told).SerializeToString()) == PartialSuccess(3, "late")
    assert rejected(b"") == rejected(b"{}") == rejected(b"<html>") == PartialSuccess()
