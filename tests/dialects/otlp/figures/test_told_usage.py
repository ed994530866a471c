"""Tokens and money of spans: objects of usage in whichever form, and costs that are told whole or in parts."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.dialects.calls import call
from tests.support.otlp import JSON, attribute, logs, span, traces
from tests.support.tables import table
from towerlog.dialects.base import Endpoint
from towerlog.dialects.otlp.dialect import DIALECT
from towerlog.model.event import Draft, EventType
from towerlog.model.usage import Usage
from towerlog.model.usage_parts import UsageParts

TOLD = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 10}
CHAT = {
    "prompt_tokens": 1000,
    "completion_tokens": 10,
    "total_tokens": 1010,
    "prompt_tokens_details": {"cached_tokens": 900},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
SPLIT = Usage(100, 900, None, 6, 4)


def call_of(attributes: dict[str, Any]) -> Draft:
    """The model call that a span with these attributes becomes."""
    told = span(2, 1)
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **attributes}
    told["attributes"] = [{"key": key, "value": attribute(value)} for key, value in attributes.items()]
    endpoint: Endpoint = next(one for one in DIALECT.endpoints if one.path == "/v1/traces")
    command = endpoint.decode(call(json.dumps(traces(told)).encode(), headers={b"content-type": JSON.encode()}))
    [found] = [one for one in command.items if isinstance(one, Draft)]
    return found


def usage_of(attributes: dict[str, Any]) -> Usage:
    """What is told, without a total that is no more than what stands beside it."""
    report = call_of(attributes).effects.report
    assert report is not None
    bare = msgspec.structs.replace(report.usage, total_tokens=None)
    assert report.usage.all_tokens() == bare.all_tokens()
    return bare


@table(
    "object_, expected",
    [
        (CHAT, SPLIT),
        (
            {
                "input_tokens": 1000,
                "output_tokens": 10,
                "total_tokens": 1010,
                "input_tokens_details": {"cached_tokens": 900},
                "output_tokens_details": {"reasoning_tokens": 4},
            },
            SPLIT,
        ),
        ({"input": 100, "output": 6, "input_cached_tokens": 900, "output_reasoning_tokens": 4}, SPLIT),
        ({"input": 100, "output": 6, "input_cache_read": 900, "output_reasoning": 4, "total": 1010}, SPLIT),
        (
            {"input": 100, "output": 10, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 50},
            Usage(100, 900, 50, 10),
        ),
        (
            {
                "input_tokens": 100,
                "output_tokens": 10,
                "cache_read_input_tokens": 900,
                "cache_creation_input_tokens": 50,
            },
            Usage(100, 900, 50, 10),
        ),
        (
            {
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 900,
                "candidatesTokenCount": 6,
                "thoughtsTokenCount": 4,
            },
            SPLIT,
        ),
    ],
)
@table(
    "name",
    ["langfuse.observation.usage_details", "langsmith.metadata.usage_metadata", "mlflow.chat.tokenUsage", "usage"],
)
def test_an_object_of_usage_is_read_in_the_form_of_its_provider(
    name: str, object_: dict[str, Any], expected: Usage
) -> None:
    assert usage_of({name: json.dumps(object_)}) == expected


@table("text", [json.dumps(CHAT), str(CHAT)])
def test_an_object_that_says_more_of_the_same_tokens_splits_them(text: str) -> None:
    assert usage_of({**TOLD, "metadata.usage_object": text}) == SPLIT
    other = {**TOLD, "gen_ai.usage.input_tokens": 500, "metadata.usage_object": text}
    assert usage_of(other) == Usage(500, None, None, 10)


LANGCHAIN_WRITES = {"cache_read": 900, "cache_creation": 0, "ephemeral_5m_input_tokens": 20}


@table(
    "details, expected",
    [
        ({"cache_read": 900}, Usage(100, 900, None, 10)),
        ({"cache_read": 900, "cache_creation": 50}, Usage(50, 900, 50, 10)),
        ({"cache_creation": 50}, Usage(950, None, 50, 10)),
        ({**LANGCHAIN_WRITES, "ephemeral_1h_input_tokens": 30}, Usage(50, 900, 50, 10)),
        ({"cache_read": 0, "cache_creation": 0}, Usage(1000, 0, 0, 10)),
        ({"flex_cache_read": 900, "flex": 100}, Usage(100, 900, None, 10)),
        ({"cache_read": "many"}, Usage(1000, None, None, 10)),
    ],
)
@table("shown", [json.dumps, str])
def test_details_of_langsmith_split_the_sums(details: dict[str, Any], shown: Any, expected: Usage) -> None:
    """Its exporter writes an object as Python shows it. With the whole object beside them it says nothing else."""
    told = {**TOLD, "gen_ai.usage.total_tokens": 1010, "gen_ai.usage.input_token_details": shown(details)}
    whole = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010, "input_token_details": details}
    assert usage_of(told) == usage_of({**told, "langsmith.metadata.usage_metadata": json.dumps(whole)}) == expected


def test_details_of_langsmith_tell_what_a_price_goes_by() -> None:
    details = {**LANGCHAIN_WRITES, "ephemeral_1h_input_tokens": 30}
    report = call_of({**TOLD, "gen_ai.usage.input_token_details": str(details)}).effects.report
    assert report is not None
    assert report.parts == UsageParts(cache_write_1h_tokens=30)
    report = call_of({**TOLD, "gen_ai.usage.output_token_details": "{'flex': 6, 'flex_reasoning': 4}"}).effects.report
    assert report is not None
    assert (report.parts, report.usage.reasoning_tokens) == (UsageParts(tier="flex"), 4)


def test_details_that_are_no_object_are_not_read() -> None:
    told = {**TOLD, "gen_ai.usage.input_token_details": "{'cache_read': open('x')}"}
    assert usage_of(told) == Usage(1000, None, None, 10)


@table(
    "read, written",
    [
        ("cache_read.input_tokens", "cache_creation.input_tokens"),
        ("cache_read_input_tokens", "cache_creation_input_tokens"),
        ("cache_read_tokens", "cache_write_tokens"),
        ("cache_read_tokens", "cache_creation_tokens"),
        ("cached_input_tokens", "cache_write_input_tokens"),
        ("input_cached_tokens", "input_cache_write"),
        ("prompt_tokens_details.cached_tokens", "prompt_tokens_details.cache_creation_tokens"),
    ],
)
@table("before", ["gen_ai.usage.", "gen_ai.usage.details.", "llm.usage."])
def test_what_a_cache_has_is_read_by_every_word_in_every_place(before: str, read: str, written: str) -> None:
    assert usage_of({**TOLD, before + read: 900, before + written: 50}) == Usage(50, 900, 50, 10)


PYDANTIC_AI_1_0 = {
    "gen_ai.usage.input_tokens": 130213,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.details.cache_creation_input_tokens": 1253,
    "gen_ai.usage.details.cache_read_input_tokens": 128955,
    "gen_ai.usage.details.input_tokens": 5,
    "gen_ai.usage.details.output_tokens": 100,
}
"""As its version 1.0.0 tells a call of Anthropic: the details are Anthropic's own figures."""


def test_an_older_pydantic_ai_tells_of_caches_by_the_words_of_the_provider() -> None:
    assert usage_of(PYDANTIC_AI_1_0) == Usage(5, 128955, 1253, 100)
    gemini = {**TOLD, "gen_ai.usage.details.cached_content_tokens": 900, "gen_ai.usage.details.thoughts_tokens": 4}
    assert usage_of(gemini) == SPLIT


def test_an_older_name_that_is_filled_with_nothing_hides_no_figure() -> None:
    told = {**TOLD, "gen_ai.usage.cached_tokens": 0, "gen_ai.usage.details.cache_read_tokens": 900}
    assert usage_of(told) == Usage(100, 900, None, 10)
    assert usage_of({**TOLD, "gen_ai.usage.cached_tokens": 0}) == Usage(1000, 0, None, 10)


@table(
    "cost",
    [
        *({name: 0.5} for name in (
            "gen_ai.cost.total_cost", "litellm.cost.total", "llm.usage.total_cost", "gen_ai.usage.cost_usd",
        )),
        {"mlflow.llm.cost": '{"input_cost": 0.3, "output_cost": 0.2, "total_cost": 0.5}'},
        {"mlflow.llm.cost": '{"input_cost": 0.3, "output_cost": 0.2}'},
        {"llm.cost.prompt": 0.3, "llm.cost.completion": 0.2},
        {"gen_ai.usage.input_cost": 0.3, "gen_ai.usage.output_cost": 0.2},
        {"gen_ai.cost.input_cost": 0.3, "gen_ai.cost.output_cost": 0.2},
        {"langfuse.observation.cost_details": '{"input": 0.3, "output": 0.2}'},
        {"langfuse.observation.cost_details": '{"input": 0.1, "input_cached_tokens": 0.2, "output": 0.2}'},
        {"langsmith.metadata.usage_metadata": '{"input_tokens": 1000, "output_tokens": 10, "total_cost": 0.5}'},
        {"langsmith.metadata.usage_metadata": '{"input_tokens": 1000, "input_cost": 0.3, "output_cost": 0.2}'},
        {"gen_ai.usage.cost": "NaN", "llm.cost.total": 0.5},
    ],
)  # fmt: skip
def test_a_cost_that_a_span_tells_counts(cost: dict[str, Any]) -> None:
    assert usage_of({**TOLD, **cost}) == Usage(1000, None, None, 10, cost_nanos=500_000_000)


@pytest.mark.parametrize(
    "cost",
    [{"llm.cost.prompt": 0.3}, {"langfuse.observation.cost_details": '{"input": 0.3}'}],
    ids=["an attribute", "an object"],
)
def test_a_part_of_a_cost_is_not_the_cost_and_is_said(cost: dict[str, Any]) -> None:
    draft = call_of({**TOLD, **cost})
    assert draft.effects.report is not None
    assert draft.effects.report.usage == Usage(1000, None, None, 10)
    assert json.loads(draft.data)["towerlog_invalid"] == cost
    # Of a call without output nothing is missing.
    assert usage_of({"gen_ai.usage.input_tokens": 1000, **cost}).cost_nanos == 300_000_000


def test_thoughts_that_the_total_counts_beside_the_output_are_not_in_it() -> None:
    told = {**TOLD, "gen_ai.usage.total_tokens": 1014, "gen_ai.usage.experimental.reasoning_tokens": 4}
    assert usage_of(told) == Usage(1000, None, None, 10, 4)
    assert usage_of({**told, "gen_ai.usage.total_tokens": 1010}) == Usage(1000, None, None, 6, 4)


CODEX = {
    "event.name": "codex.sse_event",
    "event.kind": "response.completed",
    "conversation.id": "s1",
    "input_token_count": "1000",
    "cached_token_count": "900",
    "output_token_count": "10",
    "reasoning_token_count": "4",
}
GEMINI = {
    "event.name": "gemini_cli.api_response",
    "session.id": "s1",
    "input_token_count": 1000,
    "cached_content_token_count": 900,
    "output_token_count": 6,
    "thoughts_token_count": 4,
    "total_token_count": 1010,
}


@pytest.mark.parametrize("name", [None, "event otel/src/events/session_telemetry.rs:1187"])
@pytest.mark.parametrize("attributes", [CODEX, GEMINI], ids=["codex", "gemini"])
def test_the_log_records_of_programs_without_spans_tell_their_calls(
    attributes: dict[str, Any], name: str | None
) -> None:
    """Libraries of Rust name the record after the line that has written it."""
    told = [{"key": key, "value": attribute(value)} for key, value in {**attributes, "model": "m"}.items()]
    named = {} if name is None else {"eventName": name}
    body = logs({"timeUnixNano": "1775124001000000000", "attributes": told, **named})
    endpoint: Endpoint = next(one for one in DIALECT.endpoints if one.path == "/v1/logs")
    [found] = endpoint.decode(call(json.dumps(body).encode(), headers={b"content-type": JSON.encode()})).items
    assert (found.type, found.effects.model) == (EventType.MODEL_CALL, "m")
    assert msgspec.structs.replace(found.effects.report.usage, total_tokens=None) == SPLIT
    assert found.run.thread_id == "s1"
