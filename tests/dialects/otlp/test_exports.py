"""Exports of twenty real programs: what they become is the same in both encodings, and every figure counts once."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.dialects.calls import call
from tests.support.otlp import JSON, PROTOBUF, Export, exports
from towerlog.dialects.otlp import dialect as otlp
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType
from towerlog.model.run import PARENT_FOREIGN
from towerlog.model.usage import NO_USAGE, Usage, add

EXPORTS = exports()
TRACES = [one for one in EXPORTS if one.path == "/v1/traces"]
NO_CACHE = {"openinference-openai-agents", "openinference-smolagents", "otel-openai-v2"}
"""Libraries that tell nothing of cached tokens."""
NO_REASONING = NO_CACHE | {
    "openinference-anthropic",
    "openllmetry-anthropic",
    "openllmetry-langchain",
    "strands-agents",
}
CALLS = {
    "google-adk": 2,
    "langsmith-otel": 2,
    "openinference-anthropic": 1,
    "openinference-langchain": 2,
    "openinference-openai": 2,
    "openinference-openai-agents": 7,
    "openinference-smolagents": 3,
    "openllmetry-anthropic": 2,
    "openllmetry-langchain": 1,
    "openllmetry-openai": 2,
    "otel-openai-v2": 2,
    "pydantic-ai-v2": 1,
    "pydantic-ai-v3": 2,
    "pydantic-ai-v4": 1,
    "pydantic-ai-v5": 1,
    "pydantic-ai-v6": 1,
    "strands-agents": 2,
    "vercel-ai-sdk-json": 3,
    "vercel-ai-sdk-proto": 3,
}
"""Model calls with figures: once for each response of a trace, however many spans tell of it."""
by_name = pytest.mark.parametrize("export", TRACES, ids=lambda one: one.name)


def decoded(body: bytes, kind: str = JSON, path: str = "/v1/traces") -> Append:
    [endpoint] = [one for one in otlp.DIALECT.endpoints if one.path == path]
    command = endpoint.decode(call(body, headers={b"content-type": kind.encode()}))
    assert isinstance(command, Append)
    return command


def drafts(export: Export, kind: str = JSON) -> list[Draft]:
    items = decoded(export.sent(kind), kind, export.path).items
    assert all(isinstance(item, Draft) for item in items), items
    return [item for item in items if isinstance(item, Draft)]


def usage_of(draft: Draft) -> Usage:
    report = draft.effects.report
    return NO_USAGE if report is None else report.usage


def calls_of(found: list[Draft]) -> list[Draft]:
    """Model calls of chats that say what they have used: of each response the first account."""
    accounts: dict[tuple[str, str | None], Draft] = {}
    for one in found:
        if usage_of(one).output_tokens is not None:
            assert one.span is not None
            accounts.setdefault((one.span.trace, one.event_id), one)
    return list(accounts.values())


@by_name
def test_each_call_tells_what_its_library_tells(export: Export) -> None:
    calls = calls_of(drafts(export))
    assert len(calls) == CALLS[export.name]
    for one in calls:
        usage = usage_of(one)
        assert usage.all_input_tokens() == 1200
        assert usage.cached_input_tokens == (None if export.name in NO_CACHE else 1000)
        assert usage.all_output_tokens() == 90
        # One of its two programs streams, and tells less then.
        streams = export.name == "openllmetry-openai" and b'"gen_ai.is_streaming":true' in one.data
        assert usage.reasoning_tokens == (None if export.name in NO_REASONING or streams else 40)
        assert one.type is EventType.MODEL_CALL
        assert one.effects.model


@pytest.mark.parametrize("export", EXPORTS, ids=lambda one: one.name)
def test_both_encodings_say_the_same(export: Export) -> None:
    told, same = drafts(export, JSON), drafts(export, PROTOBUF)
    assert [one.event_id for one in told] == [one.event_id for one in same]
    for one, other in zip(told, same, strict=True):
        assert (one.type, one.run, one.facts, one.occurred_at, one.agent) == (
            other.type,
            other.run,
            other.facts,
            other.occurred_at,
            other.agent,
        )
        assert one.data == other.data


@by_name
def test_a_trace_is_one_tree_without_an_orphan(export: Export) -> None:
    found = drafts(export)
    traces = {one.run.foreign_id.split(":")[1] for one in found}  # type: ignore[union-attr]
    begun = {one.run.foreign_id: one.effects.parent_key for one in found if one.type is EventType.RUN_STARTED}  # type: ignore[union-attr]
    ended = [one.run.foreign_id for one in found if one.type in (EventType.RUN_COMPLETED, EventType.RUN_FAILED)]  # type: ignore[union-attr]
    assert sorted(ended) == sorted(begun)
    assert {one.run.foreign_id for one in found} == set(begun)  # type: ignore[union-attr]
    assert {run for run, parent in begun.items() if parent is None} == {f"otlp:{trace}" for trace in traces}
    assert all(parent is None or parent.removeprefix(PARENT_FOREIGN) in begun for parent in begun.values())


@by_name
def test_tools_are_calls_with_their_results(export: Export) -> None:
    found = drafts(export)
    called = Counter(one.facts.tool_call_id for one in found if one.type is EventType.TOOL_CALL)
    results = [one for one in found if one.type is EventType.TOOL_RESULT]
    assert called == Counter(one.facts.tool_call_id for one in results)
    failed = {one.facts.tool for one in results if one.facts.success is False}
    assert failed == ({"broken"} if export.name == "openinference-openai-agents" else set())
    assert all(one.facts.tool == "weather" or export.name == "openinference-openai-agents" for one in results)


@by_name
def test_spans_in_any_order_come_to_the_same(export: Export) -> None:
    """The request is what is reversed and shuffled here; one span a request is for a real server."""
    in_order = {one.event_id for one in drafts(export)}
    for seed in range(4):
        bodies = list(export.one_by_one())
        random.Random(seed).shuffle(bodies)
        whole = {"resourceSpans": [one for body in bodies for one in body["resourceSpans"]]}
        found = drafts(Export(export.name, export.path, whole))
        assert total(found) == total(drafts(export))
        assert len({one.event_id for one in found}) == len(in_order)


def total(found: list[Draft]) -> Usage:
    whole = NO_USAGE
    for one in found:
        whole = add(whole, usage_of(one))
    return whole


def test_records_of_a_call_stand_with_its_span() -> None:
    [records] = [one for one in EXPORTS if one.path == "/v1/logs"]
    [spans] = [one for one in EXPORTS if one.name == "otel-openai-v2"]
    calls = {one.run for one in drafts(spans)}
    found = drafts(records)
    assert {one.run for one in found} <= calls
    assert [one.facts.name for one in found][:3] == ["gen_ai.system.message", "gen_ai.user.message", "gen_ai.choice"]
    assert all(b'"span_id"' in one.data for one in found)


def test_the_tree_of_agents_in_agents() -> None:
    [export] = [one for one in TRACES if one.name == "openinference-openai-agents"]
    begun = [one for one in drafts(export) if one.type is EventType.RUN_STARTED]
    names: dict[Any, str | None] = {one.run.foreign_id: one.agent for one in begun}  # type: ignore[union-attr]
    above = sorted(
        (one.agent or "", names[(one.effects.parent_key or "").removeprefix(PARENT_FOREIGN)])
        for one in begun
        if one.effects.parent_key is not None
    )
    assert above == [("geographer", "triage"), ("refunds", "support"), ("refunds", "support"), ("triage", "support")]
