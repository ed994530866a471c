"""The dialect `otlp` by itself: kinds, runs, threads, figures that count once, refusals, replies."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.dialects.calls import call
from tests.support.otlp import JSON, PROTOBUF, Json, as_protobuf, attribute, logs, span, traces
from towerlog.dialects.base import DialectSettings, Endpoint
from towerlog.dialects.otlp import dialect as otlp
from towerlog.dialects.otlp import protobuf
from towerlog.dialects.otlp.dialect import DIALECT, MAX_SPANS
from towerlog.dialects.otlp.protobuf import MAX_REQUEST_PARTS
from towerlog.errors import Invalid, Malformed, Overloaded, TooLarge, TowerlogError
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, Refusal, RunByForeignId
from towerlog.model.outcome import Appended, Stored
from towerlog.model.usage import Usage
from towerlog.model.usage_parts import UsageParts

STORED = Stored(1, 1, "run", "agent", False, False, ())


def endpoint(path: str) -> Endpoint:
    [found] = [one for one in DIALECT.endpoints if one.path == path]
    return found


def decode(body: Json | bytes, path: str = "/v1/traces", kind: str = JSON, **fields: Any) -> Append:
    command = endpoint(path).decode(call(body, headers={b"content-type": kind.encode()}, **fields))
    assert isinstance(command, Append)
    return command


def drafts(*spans: Json, **resource: Any) -> list[Draft]:
    return [one for one in decode(traces(*spans, **resource)).items if isinstance(one, Draft)]


def of_type(kind: EventType, *spans: Json) -> list[Draft]:
    return [one for one in drafts(*spans) if one.type is kind]


def the_call(**attributes: Any) -> Draft:
    [found] = of_type(EventType.MODEL_CALL, span(2, 1, gen_ai__operation__name="chat", **attributes))
    return found


def usage(**attributes: Any) -> Usage:
    report = the_call(**attributes).effects.report
    assert report is not None
    return report.usage


def run_of(draft: Draft) -> RunByForeignId:
    assert isinstance(draft.run, RunByForeignId)
    return draft.run


@pytest.mark.parametrize(
    ("attributes", "types"),
    [
        ({"gen_ai.operation.name": "execute_tool"}, [EventType.TOOL_CALL, EventType.TOOL_RESULT]),
        ({"openinference.span.kind": "LLM"}, [EventType.MODEL_CALL]),
        ({"traceloop.span.kind": "task"}, [EventType.STEP]),
        ({"traceloop.span.kind": "workflow", "gen_ai.operation.name": "invoke_agent"}, [EventType.STEP]),
        ({"langsmith.span.kind": "llm"}, [EventType.MODEL_CALL]),
        ({"ai.operationId": "ai.toolCall"}, [EventType.TOOL_CALL, EventType.TOOL_RESULT]),
        ({"span.type": "llm_request"}, [EventType.MODEL_CALL]),
        ({"gen_ai.tool.name": "search"}, [EventType.TOOL_CALL, EventType.TOOL_RESULT]),
        ({"gen_ai.request.model": "gpt-4o"}, [EventType.MODEL_CALL]),
        ({"gen_ai.operation.name": "invoke_agent"}, [EventType.RUN_STARTED, EventType.RUN_COMPLETED]),
        ({"http.request.method": "GET"}, [EventType.STEP]),
        ({"gen_ai.operation.name": 7}, [EventType.STEP]),
    ],
    ids=str,
)
def test_a_span_is_what_its_attributes_say(attributes: dict[str, Any], types: list[EventType]) -> None:
    told = span(2, 1)
    told["attributes"] = [{"key": key, "value": attribute(value)} for key, value in attributes.items()]
    assert [one.type for one in drafts(told)] == types


def test_a_root_of_any_kind_is_a_run() -> None:
    root, call_, end = drafts(span(1, gen_ai__operation__name="chat", gen_ai__request__model="m"))
    assert (root.type, call_.type, end.type) == (
        EventType.RUN_STARTED,
        EventType.MODEL_CALL,
        EventType.RUN_COMPLETED,
    )
    assert root.agent == "weather"
    assert run_of(root).foreign_id == f"otlp:{1:032x}"
    assert len({id(one.run) for one in (root, call_, end)}) == 1


def test_a_parent_in_another_process_makes_a_root() -> None:
    told = span(2, 1, gen_ai__operation__name="invoke_agent", gen_ai__agent__name="a")
    told["flags"] = 0x300
    assert [run_of(one).foreign_id for one in drafts(told)] == [f"otlp:{1:032x}"] * 2


def test_nested_agents_are_child_runs_and_hold_what_is_below_them() -> None:
    found = drafts(
        span(4, 3, gen_ai__operation__name="chat", gen_ai__request__model="m"),
        span(3, 2, name="turn"),
        span(2, 1, gen_ai__operation__name="invoke_agent", gen_ai__agent__name="inner"),
        span(1, gen_ai__operation__name="invoke_agent", gen_ai__agent__name="outer"),
    )
    inner = [one for one in found if run_of(one).foreign_id.endswith(f":{2:016x}")]
    assert [one.type.value for one in inner] == ["run.started", "model.call", "step", "run.completed"]
    assert {one.agent for one in inner} == {"inner"}
    assert inner[0].effects.parent_key == f"foreign:otlp:{1:032x}"
    assert {one.agent for one in found if one not in inner} == {"outer"}


@pytest.mark.parametrize(
    ("name", "agent"),
    [
        ("Crew_814d6544-ac4a-41ee-81c3-e405f978369d.kickoff", "Crew"),
        ("forecaster._execute_core", "forecaster"),
        ("invoke_agent weather 814D6544-AC4A-41EE-81C3-E405F978369D", "weather"),
        ("814d6544-ac4a-41ee-81c3-e405f978369d", "814d6544-ac4a-41ee-81c3-e405f978369d"),
        ("a-b_c.run", "a-b_c"),
    ],
)
def test_an_agent_that_its_span_alone_names_is_the_same_in_each_run(name: str, agent: str) -> None:
    found = drafts(span(1, name=name, openinference__span__kind="CHAIN"))
    assert {one.agent for one in found} == {agent}


def test_spans_in_a_circle_are_stored() -> None:
    found = drafts(span(2, 3, name="a"), span(3, 2, name="b"), span(4, 4, name="c"))
    assert [one.type for one in found] == [EventType.STEP] * 3


def test_events_are_in_the_order_in_which_things_happened() -> None:
    found = drafts(
        span(3, 1, gen_ai__operation__name="execute_tool", gen_ai__tool__name="t"),
        span(2, 1, gen_ai__operation__name="chat"),
        span(1, gen_ai__operation__name="invoke_agent"),
    )
    assert [one.type.value for one in found] == [
        "run.started", "tool.call", "tool.result", "model.call", "run.completed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "thread", "named"),
    [
        ({"gen_ai__conversation__id": "c", "session__id": "s"}, "c", True),
        ({"session__id": "s", "metadata": '{"thread_id": "t"}'}, "s", True),
        ({"metadata": '{"thread_id": "t"}'}, "t", True),
        ({"langsmith__metadata__thread_id": "t"}, "t", True),
        ({"session__id": "a/b"}, "a-b-c14cddc0", True),
        ({"session__id": ".."}, "..-5ec1f7e7", True),
        ({"session__id": 7}, "7", True),
        ({"gen_ai__session__id": "L"}, "L", True),
        ({}, f"{1:032x}", False),
    ],
    ids=str,
)
def test_the_thread(attributes: dict[str, Any], thread: str, named: bool) -> None:
    for one in drafts(span(2, 1, **attributes), span(1)):
        assert (run_of(one).thread_id, run_of(one).names_thread) == (thread, named)


def test_cached_and_reasoning_tokens_are_parts() -> None:
    told = usage(
        gen_ai__usage__input_tokens=1200,
        gen_ai__usage__prompt_tokens=1200,
        gen_ai__usage__cache_read__input_tokens=1000,
        gen_ai__usage__cached_input_tokens=1000,
        gen_ai__usage__cache_creation__input_tokens=50,
        gen_ai__usage__output_tokens=90,
        gen_ai__usage__reasoning_tokens=40,
        operation__cost=0.00265,
    )
    assert told == Usage(150, 1000, 50, 50, 40, None, 2_650_000)


@pytest.mark.parametrize(
    ("attributes", "parts"),
    [
        ({}, None),
        ({"gen_ai.usage.cache_creation.ephemeral_1h_input_tokens": 10}, UsageParts(cache_write_1h_tokens=10)),
        ({"llm.token_count.prompt_details.audio": 9}, UsageParts(input_audio_tokens=9)),
        ({"llm.token_count.prompt_details.audio": 0}, None),
        ({"gen_ai.usage.input_audio_tokens": 9, "gen_ai.usage.output_audio_tokens": "4"},
         UsageParts(input_audio_tokens=9, output_audio_tokens=4)),
        ({"gen_ai.usage.details.input_audio_tokens": 9, "gen_ai.usage.details.cache_audio_read_tokens": 2},
         UsageParts(input_audio_tokens=9, cache_audio_read_tokens=2)),
        ({"gen_ai.usage.prompt_tokens_details.audio_tokens": 9}, UsageParts(input_audio_tokens=9)),
        ({"gen_ai.usage.input_token_details": '{"audio": 9}'}, UsageParts(input_audio_tokens=9)),
        ({"openai.response.service_tier": "flex", "openai.request.service_tier": "auto"}, UsageParts(tier="flex")),
        ({"gen_ai.openai.response.service_tier": "default", "openai.request.service_tier": "priority"}, None),
        ({"towerlog.usage.output_audio_tokens": 3, "towerlog.usage.service_tier": "batch"},
         UsageParts(output_audio_tokens=3, tier="batch")),
    ],
)  # fmt: skip
def test_what_a_price_goes_by_is_read_and_changes_no_bucket(
    attributes: dict[str, Any], parts: UsageParts | None
) -> None:
    told = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10}
    report = the_call(**told, **attributes).effects.report
    assert report is not None
    assert (report.parts, report.usage) == (parts, usage(**told))


def test_a_sum_that_cannot_hold_its_part_does_not() -> None:
    told = usage(
        gen_ai__usage__input_tokens=10,
        gen_ai__usage__cache_read__input_tokens=1000,
        gen_ai__usage__output_tokens=5,
        gen_ai__usage__reasoning_tokens=40,
    )
    assert told == Usage(10, 1000, None, 5, 40)


def test_flat_names_do_not_count_cached_input() -> None:
    assert usage(input_tokens="1200", cache_read_tokens="1000", output_tokens="90") == Usage(1200, 1000, None, 90)


@pytest.mark.parametrize("value", [-1, "many", 2**60, 1.5, True, [1], {"a": 1}], ids=repr)
def test_what_is_no_number_is_unknown(value: Any) -> None:
    assert usage(gen_ai__usage__input_tokens=value, gen_ai__usage__output_tokens=90) == Usage(output_tokens=90)


def test_second_accounts_do_not_count_and_outer_calls_say_what_is_below_them() -> None:
    figures = {"gen_ai__usage__input_tokens": 5, "gen_ai__usage__output_tokens": 7}
    chat = {"gen_ai__operation__name": "chat", "gen_ai__request__model": "m", **figures}
    found = drafts(
        span(2, 5, **chat, gen_ai__response__id="r"),
        span(5, 1, name="try"),
        span(1, gen_ai__operation__name="chat", **figures),
        span(3, 9, **chat, gen_ai__response__id="r"),
        span(4, 9, **chat),
    )
    counted = [(one.event_id, one.span) for one in found if one.effects.report is not None]
    places = {event_id: span_ and (span_.above, span_.is_call, span_.hangs) for event_id, span_ in reversed(counted)}
    assert places == {
        "response:r": (f"{1:016x}", True, None),
        f"{1:016x}": (None, True, None),
        f"{4:016x}": (f"{9:016x}", True, f"{9:016x}"),
    }
    # The account that tells most comes first, and any other is a step then.
    others = [one.otherwise.event_id for one in found if one.otherwise is not None]
    assert others == [f"{2:016x}", f"{3:016x}"]


def test_each_root_begins_a_run() -> None:
    found = drafts(span(4, 2), span(3, 1), span(2), span(1))
    runs = {one.event_id: run_of(one).foreign_id for one in found}
    trace = f"otlp:{1:032x}"
    assert {runs[f"{one:016x}"] for one in (3,)} == {runs[f"{1:016x}.start"]} == {trace}
    assert {runs[f"{one:016x}"] for one in (4,)} == {runs[f"{2:016x}.start"]} == {f"{trace}:{2:016x}"}
    assert {one.span.root for one in found if one.span is not None} == {f"{trace}:{n:016x}" for n in (1, 2)}


def test_a_call_that_has_told_nothing_leaves_the_figures_to_the_one_above() -> None:
    found = drafts(
        span(2, 1, gen_ai__operation__name="chat"),
        span(1, gen_ai__operation__name="chat", gen_ai__usage__output_tokens=7),
    )
    told = [one.effects.report.usage.output_tokens for one in found if one.effects.report is not None]
    assert sorted(told, key=str) == [7, None]


def test_another_account_of_a_response_is_a_step_where_its_run_has_one() -> None:
    found = the_call(gen_ai__response__id="r", gen_ai__usage__output_tokens=7)
    other = found.otherwise
    assert other is not None
    assert (other.type, other.event_id, other.effects.report) == (EventType.STEP, f"{2:016x}", None)
    assert (found.event_id, other.data) == ("response:r", found.data)


def test_an_id_of_a_response_may_be_anything() -> None:
    ids = [the_call(gen_ai__response__id=one).event_id or "" for one in ("r" * 5000, "a\x1fb", "ü/ß")]
    assert all(len(one) < 200 and one.isprintable() for one in ids)


def test_a_failed_call() -> None:
    told = span(2, 1, gen_ai__operation__name="chat", error__type="RateLimitError")
    told["status"] = {"code": 2, "message": "slow down"}
    [found] = drafts(told)
    assert (found.facts.name, found.facts.success) == ("inference_rate_limited", False)
    assert json.loads(found.data)["error"] == "slow down"


@pytest.mark.parametrize("failure", [{"gen_ai__tool__status": "error"}, {"success": "false"}, {"success": False}])
def test_a_tool_that_failed_by_an_attribute(failure: dict[str, Any]) -> None:
    _, result = drafts(span(2, 1, gen_ai__operation__name="execute_tool", gen_ai__tool__name="t", **failure))
    assert result.facts.success is False


def test_a_tool_has_its_arguments_and_its_result_once() -> None:
    called, result = drafts(
        span(
            2, 1, gen_ai__operation__name="execute_tool", gen_ai__tool__name="t", gen_ai__tool__call__id="c",
            gen_ai__tool__call__arguments='{"city": "Oslo"}', gen_ai__tool__call__result="cold",
        )
    )  # fmt: skip
    assert json.loads(called.data)["arguments"] == {"city": "Oslo"}
    told = json.loads(result.data)
    assert (told["result"], told["tool_call_id"]) == ("cold", "c")
    assert told["sources"] == {
        "arguments": "gen_ai.tool.call.arguments",
        "result": "gen_ai.tool.call.result",
    }
    assert not set(told["sources"].values()) & set(told["attributes"])
    assert (called.facts.tool_call_id, result.facts.duration_ms) == ("c", 996)


def test_a_run_fails_as_its_root_does() -> None:
    told = span(1, gen_ai__operation__name="invoke_agent")
    told["status"] = {"code": "STATUS_CODE_ERROR"}
    told["events"] = [
        {"name": "exception", "attributes": [{"key": "exception.type", "value": {"stringValue": "ValueError"}}]}
    ]
    end = drafts(told)[-1]
    assert (end.type, end.facts.error) == (EventType.RUN_FAILED, "ValueError")


def test_the_process_is_told_where_its_run_begins() -> None:
    start, step, end = drafts(span(1), span(2, 1), host__name="h", api_key="hush")
    assert json.loads(start.data)["resource"] == {"service.name": "weather", "host.name": "h", "api_key": "[masked]"}
    assert [json.loads(one.data)["service"] for one in (step, end)] == ["weather"] * 2


# What is wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traceId": "xyz"}, "traceId: must be 32 hex digits"),
        ({"traceId": ""}, "traceId: is required"),
        ({"traceId": "0" * 32}, "traceId: is required"),
        ({"spanId": None}, "spanId: is required"),
        ({"attributes": 7}, "attributes: Expected `array`, got `integer`"),
        ({"status": {"code": "odd"}}, "status.code: must be a number"),
    ],
    ids=str,
)
def test_a_wrong_span_costs_none_of_its_neighbours(change: Json, message: str) -> None:
    command = decode(traces(span(2, 1) | change, span(3, 1)))
    refused = [one for one in command.items if isinstance(one, Refusal)]
    assert [one.message for one in refused] == [message]
    assert len(command.items) == 2


@pytest.mark.parametrize(
    ("change", "field", "kept"),
    [
        ({"startTimeUnixNano": "yesterday"}, "startTimeUnixNano", "yesterday"),
        ({"startTimeUnixNano": -5}, "startTimeUnixNano", -5),
        ({"endTimeUnixNano": 1.5}, "endTimeUnixNano", 1.5),
        ({"parentSpanId": "5b8efff798038103d269b633813fc60c"}, "parentSpanId", "5b8efff798038103d269b633813fc60c"),
    ],
    ids=str,
)
def test_times_and_parents_that_cannot_be_are_kept_and_not_used(change: Json, field: str, kept: Any) -> None:
    command = decode(traces(span(2, 1) | change))
    told = [one for one in command.items if isinstance(one, Draft)]
    assert {json.dumps(json.loads(one.data)["towerlog_invalid"]) for one in told} == {json.dumps({field: kept})}
    outcome = Appended([STORED for _ in told], (), False, False)
    said = f"{field}: cannot be one; it is kept as it was sent and not used"
    reply = endpoint("/v1/traces").encode(outcome, command, call({}, headers={b"content-type": JSON.encode()}))
    assert json.loads(reply.body) == {"partialSuccess": {"rejectedSpans": "0", "errorMessage": said}}
    if field == "parentSpanId":
        assert [one.type for one in told] == [EventType.RUN_STARTED, EventType.RUN_COMPLETED]


def test_a_parent_of_another_length_in_protobuf_makes_a_root() -> None:
    body = traces(span(2, 1) | {"parentSpanId": "5b8efff798038103d269b633813fc60c"})
    command = decode(as_protobuf("/v1/traces", body), kind=PROTOBUF)
    assert [one.type for one in command.items if isinstance(one, Draft)] == [
        EventType.RUN_STARTED,
        EventType.RUN_COMPLETED,
    ]


def test_a_floating_point_time_is_a_time() -> None:
    [told] = drafts(span(2, 1) | {"endTimeUnixNano": 1.775124001e18})
    assert told.occurred_at == 1_775_124_001_000


def test_a_run_that_ends_before_it_begins_begins_first() -> None:
    told = span(1)
    told |= {"startTimeUnixNano": told["endTimeUnixNano"], "endTimeUnixNano": told["startTimeUnixNano"]}
    assert [one.type for one in drafts(told)] == [EventType.RUN_STARTED, EventType.RUN_COMPLETED]


def test_a_pending_span_is_no_run_and_no_call() -> None:
    pending = span(2, 1, logfire__span_type="pending_span", gen_ai__operation__name="chat", gen_ai__agent__name="a")
    assert [one.type for one in drafts(pending)] == [EventType.STEP]


def test_spans_of_langfuse_and_mlflow() -> None:
    langfuse = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "gpt-4o",
        "langfuse.observation.usage_details": '{"input": 100, "output": 10, "total": 110}',
        "langfuse.observation.cost_details": '{"total": 0.3}',
        "langfuse.observation.level": "ERROR",
        "langfuse.observation.status_message": "bad",
    }
    mlflow = {
        "mlflow.spanType": '"CHAT_MODEL"',
        "mlflow.llm.model": '"gpt-4o"',
        "mlflow.chat.tokenUsage": '{"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}',
    }
    for attributes, cost in ((langfuse, 300_000_000), (mlflow, None)):
        told = span(2, 1)
        told["attributes"] = [{"key": key, "value": attribute(value)} for key, value in attributes.items()]
        [found] = drafts(told)
        assert found.type is EventType.MODEL_CALL
        assert found.effects.model == "gpt-4o"
        assert found.effects.report is not None
        usage = msgspec.structs.replace(found.effects.report.usage, total_tokens=None)
        assert (usage, usage.all_tokens()) == (Usage(100, None, None, 10, cost_nanos=cost), 110)
        assert found.facts.success is (cost is None)


def test_names_of_agents_are_one_line() -> None:
    [told] = drafts(span(2, 1, gen_ai__agent__name="a\nb\u202ec"))
    assert told.agent == "a b c"


def test_ids_in_base64_are_ids() -> None:
    told = span(2, 1) | {"traceId": "AAAAAAAAAAAAAAAAAAAAAQ==", "spanId": "AAAAAAAAAAI="}
    assert [run_of(one).foreign_id for one in drafts(told)] == [f"otlp:{1:032x}"]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"7",
        b'{"resourceSpans": 7}',
        b'{"resourceSpans": [{"scopeSpans": {}}]}',
        b"{",
        b'{"other": 1}',
        b'{"resou\xff\xffceSpans": []}',
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(TowerlogError):
        decode(body)


@pytest.mark.parametrize("body", [b"{}", b'{"resourceSpans": null}', b'{"resourceSpans": [], "other": 1}'])
def test_an_empty_request(body: bytes) -> None:
    assert decode(body).items == []


@pytest.mark.parametrize(
    "body", [b"\xff", b"\x0a\x7f", b"\x0a\x02\x0b\x0c", b"\x00\x01", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
)
def test_what_is_no_protobuf_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode(body, kind=PROTOBUF)


def test_a_broken_span_of_protobuf_costs_none_of_its_neighbours() -> None:
    whole = as_protobuf("/v1/traces", traces(span(2, 1, name="one"), span(3, 1, name="two")))
    broken = whole.replace(b"one", b"\xff\xff\xff")
    kinds = [type(one) for one in decode(broken, kind=PROTOBUF).items]
    assert kinds == [Draft, Refusal]


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf that is bytes."""
    return protobuf._number(number << 3 | 2) + protobuf._number(len(content)) + content


IDS = field(1, b"t" * 16) + field(2, b"s" * 8)


def test_what_is_made_of_many_small_parts_is_not_read() -> None:
    with pytest.raises(TooLarge):
        decode(field(1, field(2, b"\x12\x00" * 1_000_000)), kind=PROTOBUF)
    many = field(2, IDS + b"\x4a\x00" * 100_000)
    [refused] = decode(field(1, field(2, many)), kind=PROTOBUF).items
    assert isinstance(refused, Refusal)
    assert refused.code == "too_large"
    some = field(2, IDS + b"\x4a\x00" * 30_000)
    kinds = [type(one) for one in decode(field(1, field(2, some * 30)), kind=PROTOBUF).items]
    # Of each, the beginning and the end of a run.
    assert kinds.count(Draft) == 2 * (MAX_REQUEST_PARTS // 30_000)


def test_what_is_nested_deeply_is_not_read() -> None:
    deep = b""
    for _ in range(200):
        deep = field(5, field(1, deep))
    [refused] = decode(field(1, field(2, field(2, IDS + field(9, field(2, deep))))), kind=PROTOBUF).items
    assert isinstance(refused, Refusal)


@pytest.mark.parametrize(
    ("spans", "attributes", "quick"), [(100, 3, True), (600, 0, False), (100, 50, False), (1, 3, True)], ids=str
)
def test_what_is_read_at_once(spans: int, attributes: int, quick: bool) -> None:
    told = {f"attribute-{number}": "x" * 50 for number in range(attributes)}
    body = traces(*(span(number + 2, 1, **told) for number in range(spans)))
    for kind in (JSON, PROTOBUF):
        text = json.dumps(body).encode() if kind == JSON else as_protobuf("/v1/traces", body)
        context = call(text, headers={b"content-type": kind.encode()})
        assert endpoint("/v1/traces").is_quick(context) is quick  # type: ignore[misc]


def test_what_senders_are_known_to_get_wrong_is_repaired() -> None:
    body = json.dumps(traces(span(2, 1, text="half"))).encode().replace(b"half", rb"half \ud83d")
    [found] = [one for one in decode(body).items if isinstance(one, Draft)]
    assert json.loads(found.data)["attributes"]["text"] == "half \ufffd"


def test_a_request_has_a_bound() -> None:
    many = [span(number + 2, 1) for number in range(MAX_SPANS + 3)]
    items = decode(json.dumps(traces(*many)).encode()).items
    assert sum(isinstance(one, Draft) for one in items) == MAX_SPANS
    assert [one.code for one in items if isinstance(one, Refusal)] == ["too_large"] * 3


def test_an_event_has_a_bound() -> None:
    small = DialectSettings(max_event_bytes=1000)
    items = decode(traces(span(2, 1, text="x" * 2000), span(3, 1)), settings=small).items
    assert [type(one) for one in items] == [Draft, Refusal]


def test_values_have_a_depth() -> None:
    deep: Any = "x"
    for _ in range(70):
        deep = [deep]
    items = decode(traces(span(2, 1, deep=deep))).items
    assert [type(one) for one in items] == [Refusal]


# Replies


def replied(results: list[Stored | Refusal], command: Append, kind: str) -> Any:
    context = call(b"", headers={b"content-type": kind.encode()})
    return endpoint("/v1/traces").encode(Appended(results), command, context)


def test_a_reply_has_the_encoding_of_its_request() -> None:
    command = decode(traces(span(1), span(2, 1), span(3, 1) | {"traceId": "no"}))
    good: list[Stored | Refusal] = [STORED, STORED, STORED]
    assert replied(good, decode(traces(span(1), span(2, 1))), JSON).body == b"{}"
    assert replied(good, decode(traces(span(1), span(2, 1))), PROTOBUF).body == b""
    refusal = command.items[-1]
    assert isinstance(refusal, Refusal)
    reply = replied([*good, refusal], command, JSON)
    assert json.loads(reply.body) == {
        "partialSuccess": {"rejectedSpans": "1", "errorMessage": "traceId: must be 32 hex digits"}
    }
    reply = replied([*good, refusal], command, PROTOBUF)
    told = ExportTraceServiceResponse.FromString(reply.body).partial_success
    assert (told.rejected_spans, told.error_message) == (1, "traceId: must be 32 hex digits")
    assert reply.content_type == PROTOBUF


def test_spans_are_counted_and_not_their_events() -> None:
    command = decode(traces(span(1), span(2, 1)))
    refused = [Refusal("id_reused", "again") for _ in command.items]
    told = json.loads(replied([*refused], command, JSON).body)
    assert told["partialSuccess"]["rejectedSpans"] == "2"


def test_spans_that_have_one_id_are_counted_each() -> None:
    """In one trace, where one of them is stored, and in several."""
    same = [span(1, name=f"s{n}") for n in range(4)]
    command = decode(traces(*same, span(1, trace=2), span(1, trace=3)))
    refused = Refusal("id_reused", "again")
    results = [STORED if json.loads(item.data)["name"] == "s0" else refused for item in command.items]
    told = json.loads(replied(list(results), command, JSON).body)
    assert told["partialSuccess"]["rejectedSpans"] == "5"


def test_a_refusal_has_the_encoding_of_its_request() -> None:
    reply = DIALECT.explain(Overloaded(retry_after=3), "t")
    assert (reply.status, json.loads(reply.body)["code"]) == (503, 14)
    assert (b"retry-after", b"3") in reply.headers
    assert otlp._recoded(reply, {b"content-type": JSON.encode()}) is reply
    body = otlp._recoded(reply, {b"content-type": PROTOBUF.encode()}).body
    assert body[:3] == b"\x08\x0e\x12"


LISTS = {
    "/v1/traces": ("resourceSpans", "scopeSpans", "spans"),
    "/v1/logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "/v1/metrics": ("resourceMetrics",),
}


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("word", ["5", "NaN", "Infinity", "-Infinity"])
def test_what_is_no_list_is_refused_whatever_it_is(path: str, word: str) -> None:
    body = word
    for name in reversed(LISTS[path]):
        for beside in ("", ',"more":NaN'):
            with pytest.raises(Invalid):
                decode(_below(path, name, body + beside), path)
    for none in ("null", "[]"):
        assert decode(_below(path, LISTS[path][0], none), path).items == []


def _below(path: str, name: str, value: str) -> bytes:
    """A request in which a member has a value, the lists above it around it."""
    for above in reversed(LISTS[path][: LISTS[path].index(name)]):
        name, value = above, f'[{{"{name}":{value}}}]'
    return f'{{"{name}":{value}}}'.encode()


@pytest.mark.parametrize("member", ["attributes", "events", "links", "status"])
def test_a_span_with_no_number_in_the_place_of_a_list_is_refused_alone(member: str) -> None:
    body = json.dumps(traces(span(1), span(2) | {member: "PLACE"})).replace('"PLACE"', "NaN")
    refused = [one for one in decode(body.encode()).items if isinstance(one, Refusal)]
    assert [one.field for one in refused] == [member]


def test_a_number_that_json_has_not_is_the_text_of_protobuf_as_a_value() -> None:
    body = json.dumps(traces(span(1, gen_ai__operation__name="invoke_agent", x=0.25)))
    for word in ("NaN", "Infinity", "-Infinity"):
        [begun, ended] = decode(body.replace("0.25", word).encode()).items
        assert [begun, ended] == decode(body.replace("0.25", f'"{word}"').encode()).items
        assert isinstance(begun, Draft)


# Logs and metrics


def record(**members: Any) -> Json:
    return {"timeUnixNano": "1775124000000000000", "body": {"stringValue": "hello"}, **members}


def test_a_record_stands_in_the_run_of_its_trace_or_of_its_session() -> None:
    session = [{"key": "session.id", "value": {"stringValue": "s"}}]
    items = decode(
        logs(
            record(traceId=f"{1:032x}", spanId=f"{2:016x}", eventName="gen_ai.choice"),
            record(attributes=session),
            record(),
        ),
        "/v1/logs",
    ).items
    first, second, third = items
    assert isinstance(first, Draft)
    assert isinstance(second, Draft)
    assert isinstance(third, Refusal)
    assert (run_of(first).foreign_id, first.facts.name) == (f"otlp:{1:032x}", "gen_ai.choice")
    assert (run_of(second).foreign_id, run_of(second).thread_id) == ("otlp:session:s", "s")
    assert (json.loads(first.data)["span_id"], second.facts.name) == (f"{2:016x}", "log")


def test_a_request_of_claude_code_is_a_model_call() -> None:
    told = {
        "session.id": "s", "event.name": "api_request", "model": "claude-sonnet-4-5", "input_tokens": "200",
        "cache_read_tokens": "1000", "output_tokens": "90", "cost_usd": "0.0123", "duration_ms": "1500",
    }  # fmt: skip
    attributes = [{"key": key, "value": attribute(value)} for key, value in told.items()]
    [found] = decode(logs(record(attributes=attributes)), "/v1/logs").items
    assert isinstance(found, Draft)
    assert found.type is EventType.MODEL_CALL
    assert found.effects.report is not None
    assert found.effects.report.usage == Usage(200, 1000, None, 90, None, None, 12_300_000)
    assert (found.effects.model, found.facts.duration_ms) == ("claude-sonnet-4-5", 1500)


def test_the_same_record_has_the_same_id() -> None:
    one, other, same = decode(
        logs(*(record(traceId=f"{1:032x}", body={"stringValue": text}) for text in "aba")), "/v1/logs"
    ).items
    assert isinstance(one, Draft)
    assert isinstance(other, Draft)
    assert isinstance(same, Draft)
    assert one.event_id != other.event_id
    assert one.event_id == same.event_id


def test_metrics_are_taken() -> None:
    command = decode({"resourceMetrics": [{}]}, "/v1/metrics")
    assert command.items == []
    assert endpoint("/v1/metrics").encode(Appended([]), command, call(b"")).body == b"{}"
    with pytest.raises(TowerlogError):
        decode({"resourceMetrics": 7}, "/v1/metrics")
