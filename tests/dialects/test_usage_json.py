"""Tokens and money as senders tell them: by whatever names, with any kind of end, in whichever dialect."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.calls import endpoint_of, make_call
from towerlog.dialects import run_events
from towerlog.dialects.activity.dialect import DIALECT as ACTIVITY
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.checkpoints.dialect import DIALECT as CHECKPOINTS
from towerlog.dialects.native import NATIVE
from towerlog.dialects.steps import DIALECT as STEPS
from towerlog.dialects.usage_json import SaidUsage
from towerlog.model.event import Draft, RunById
from towerlog.model.usage import Usage, UsageReport
from towerlog.model.usage_parts import NO_PARTS, UsageParts

RUN_ID = "5f0c2f3e-8d0a-4f6e-9a51-0b6f1c7d2e3a"
CACHED = [
    {"cached_input_tokens": 900},
    {"cache_read_input_tokens": 900},
    {"cached_tokens": 900},
    {"cache_read_tokens": 900},
    {"prompt_tokens_details": {"cached_tokens": 900}},
    {"input_tokens_details": {"cached_tokens": 900}},
]
ENDS = ("run.completed", "run.failed", "run.cancelled", "budget.exceeded")
SPLIT = Usage(100, 900, None, 50)


def drafts(told: dict[str, Any]) -> dict[str, Draft]:
    """An event of each dialect that says what was spent."""
    settings = DialectSettings()
    sent: dict[str, Draft] = {}
    for kind in ("run_end", "error"):
        body = {"event_type": kind, "sdk_run_id": "r", "payload": told}
        [sent[kind]] = endpoint_of(STEPS, "POST", "/api/ingest").decode(make_call(body)).items
    for kind in ("thread_completed", "thread_error", "thread_budget_exceeded", "thread_idle", "checkpoint"):
        data = {"thread_id": "t", "trace_id": "x", "step_index": 1, "history": [], **told}
        body = {"events": [{"type": kind, "data": data}]}
        [sent[kind]] = endpoint_of(CHECKPOINTS, "POST", "/v1/runners/events").decode(make_call(body)).items
    for kind in (*ENDS, "ship_complete", "error"):
        event = run_events.WorkerEvent(kind, msgspec.Raw(msgspec.json.encode({"fatal": True, **told})))
        sent[f"lanes {kind}"] = run_events.worker_draft(event, 0, RunById(RUN_ID), settings, [])
    for kind in ENDS:
        one = {"event_id": "e", "client_seq": 1, "run_key": "r", "type": kind, "data": told}
        body = {"client_id": "c", "events": [one]}
        reported = endpoint_of(NATIVE, "POST", "/api/v1/events")
        [sent[f"native {kind}"]] = reported.decode(make_call(body)).items
        body = {"worker_id": "w", "lease_epoch": 1, "client_id": "c", "events": [one]}
        reported = endpoint_of(NATIVE, "POST", "/api/v1/runs/{run_id}:report")
        [sent[f"report {kind}"]] = reported.decode(make_call(body, run_id=RUN_ID)).items
    push = endpoint_of(ACTIVITY, "POST", "/agents/{id}/events")
    [sent["push"]] = push.decode(make_call({"type": "inference_complete", "metadata": told}, id=RUN_ID)).items
    return sent


def report_of(draft: Draft) -> UsageReport:
    found = draft.effects.report
    assert found is not None
    return found


@pytest.mark.parametrize("cached", CACHED, ids=lambda names: next(iter(names)))
def test_cached_input_is_read_by_its_usual_names_in_every_dialect(cached: dict[str, Any]) -> None:
    for kind, draft in drafts({"input_tokens": 1000, "output_tokens": 50, **cached}).items():
        assert report_of(draft).usage == SPLIT, kind


@pytest.mark.parametrize(
    ("told", "usage", "process_cost"),
    [
        ({"input_tokens": 1000, "output_tokens": 100, "run_cost_usd": 0.5}, Usage(1000, None, None, 100), True),
        ({"input_tokens": 1000, "output_tokens": 100, "cost_usd": 0.5}, Usage(1000, None, None, 100), False),
        ({"prompt_tokens": 1000, "completion_tokens": 100, "cost_usd": 0.5}, Usage(1000, None, None, 100), False),
        ({"total_tokens": 1100, "cost_usd": 0.5}, Usage(total_tokens=1100), False),
        ({"cost_usd": 0.5}, Usage(), False),
        ({"usage": {"input_tokens": 1000, "output_tokens": 100, "cost_usd": 0.5}}, Usage(1000, None, None, 100), False),
    ],
    ids=["of the process", "of the run", "of providers", "a bare total", "a cost", "an object"],
)
def test_every_kind_of_end_says_what_its_run_has_spent(told: dict[str, Any], usage: Usage, process_cost: bool) -> None:
    found = drafts({"model": "m", **told})
    of_calls = {"checkpoint", "push"}
    assert len(found.keys() - of_calls) == 20
    for kind in found.keys() - of_calls:
        report = report_of(found[kind])
        assert report.usage == msgspec.structs.replace(usage, cost_nanos=500_000_000), kind
        assert (report.whole_run, report.process_cost, found[kind].effects.model) == (True, process_cost, "m"), kind


def test_an_end_that_says_what_was_spent_still_leaves_its_mark_in_the_last_checkpoint() -> None:
    told, silent = drafts({"cost_usd": 0.5}), drafts({})
    for kind in (f"native {end}" for end in ENDS):
        assert told[kind].effects.checkpoint == silent[kind].effects.checkpoint, kind
        assert silent[kind].effects.report is None, kind


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"input_tokens": 100, "cache_read_input_tokens": 900, "output_tokens": 5}, Usage(100, 900, None, 5)),
        (
            {"input_tokens": 1000, "cached_tokens": 900, "output_tokens": 5, "total_tokens": 1905},
            Usage(1000, 900, None, 5, None, 1905),
        ),
        (
            {"prompt_tokens": 1000, "cached_tokens": 900, "completion_tokens": 5, "total_tokens": 1005},
            Usage(100, 900, None, 5, None, 1005),
        ),
        ({"input_tokens": 10, "output_tokens": 50, "reasoning_tokens": 20}, Usage(10, None, None, 30, 20)),
        ({"cache_creation_input_tokens": 7}, Usage(cache_write_tokens=7)),
    ],
    ids=["beside the input", "beside it by the total", "inside it by the total", "reasoning", "alone"],
)
def test_what_is_inside_what_follows_from_the_figures(told: dict[str, Any], expected: Usage) -> None:
    assert msgspec.convert(told, SaidUsage).spent("", []).usage == expected


CHAT = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 1050,
    "prompt_tokens_details": {"cached_tokens": 900},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
OF_PROVIDERS = [
    (CHAT, Usage(100, 900, None, 30, 20)),
    (
        {
            "input_tokens": 1000,
            "output_tokens": 50,
            "input_tokens_details": {"cached_tokens": 900},
            "output_tokens_details": {"reasoning_tokens": 20},
        },
        Usage(100, 900, None, 30, 20),
    ),
    (
        {
            "input_tokens": 1000,
            "cache_read_input_tokens": 900,
            "cache_creation_input_tokens": 10,
            "output_tokens": 50,
            "server_tool_use": {"web_search_requests": 2},
            "service_tier": "standard",
        },
        Usage(1000, 900, 10, 50),
    ),
    (
        {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 900,
            "candidatesTokenCount": 30,
            "thoughtsTokenCount": 20,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
        },
        Usage(100, 900, None, 30, 20),
    ),
    ({"input": 100, "input_cached_tokens": 900, "output": 50}, Usage(100, 900, None, 50)),
]


def calls(told: dict[str, Any]) -> dict[str, Draft]:
    """A model call of each dialect that has such events."""
    one = {"event_id": "e", "client_seq": 1, "run_key": "r", "type": "model.call", "data": {"model": "m", **told}}
    body = {"client_id": "c", "events": [one]}
    [native] = endpoint_of(NATIVE, "POST", "/api/v1/events").decode(make_call(body)).items
    event = run_events.WorkerEvent("model.call", msgspec.Raw(msgspec.json.encode(told)))
    return {"native": native, "lanes": run_events.worker_draft(event, 0, RunById(RUN_ID), DialectSettings(), [])}


@pytest.mark.parametrize(
    ("told", "expected"), OF_PROVIDERS, ids=["chat", "responses", "messages", "gemini", "langfuse"]
)
def test_an_object_of_usage_is_read_in_the_form_of_its_provider_by_every_event(
    told: dict[str, Any], expected: Usage
) -> None:
    for kind, draft in (drafts({"usage": told}) | calls({"usage": told})).items():
        usage = report_of(draft).usage
        assert msgspec.structs.replace(usage, total_tokens=None) == expected, kind
        assert usage.total_tokens in (None, told.get("total_tokens")), kind


@pytest.mark.parametrize(("told", "expected"), [OF_PROVIDERS[0], OF_PROVIDERS[2]], ids=["chat", "messages"])
def test_a_model_call_may_say_its_usage_by_the_names_of_its_provider(told: dict[str, Any], expected: Usage) -> None:
    named = {name: value for name, value in told.items() if "token" in name}
    for kind, draft in calls(named).items():
        assert msgspec.structs.replace(report_of(draft).usage, total_tokens=None) == expected, kind


WHOLE = {"input_tokens": 2018, "output_tokens": 300, "total_tokens": 2318}
FLAT_PARTS: list[tuple[dict[str, Any], UsageParts]] = [
    (
        {
            "prompt_tokens": 2018,
            "completion_tokens": 300,
            "prompt_tokens_details": {
                "cache_creation_tokens": 12,
                "cache_creation_token_details": {"ephemeral_1h_input_tokens": 10},
            },
        },
        UsageParts(cache_write_1h_tokens=10),
    ),
    (
        {**WHOLE, "input_token_details": {"cache_creation": 0, "ephemeral_1h_input_tokens": 10}},
        UsageParts(cache_write_1h_tokens=10),
    ),
    (
        {**WHOLE, "input_token_details": {"audio": 7}, "output_token_details": {"audio": 5}},
        UsageParts(input_audio_tokens=7, output_audio_tokens=5),
    ),
    ({**WHOLE, "input_token_details": {"flex": 2018}, "output_token_details": {"flex": 300}}, UsageParts(tier="flex")),
    (
        {
            **WHOLE,
            "input_token_details": {
                "audio_tokens": 7,
                "cached_tokens": 64,
                "cached_tokens_details": {"audio_tokens": 4},
            },
        },
        UsageParts(input_audio_tokens=7, cache_audio_read_tokens=4),
    ),
    ({**WHOLE, "inference_geo": "us", "service_tier": "batch"}, UsageParts(tier="inference_geo:us")),
    ({"usage": {**WHOLE, "inference_geo": "us"}, "service_tier": "batch"}, UsageParts(tier="inference_geo:us")),
    ({**WHOLE, "inference_geo": "global", "service_tier": "batch"}, UsageParts(tier="batch")),
    ({**WHOLE, "inference_geo": "not_available"}, NO_PARTS),
]


@pytest.mark.parametrize(("told", "parts"), FLAT_PARTS)
def test_what_a_price_goes_by_is_read_beside_the_figures_in_every_dialect(
    told: dict[str, Any], parts: UsageParts
) -> None:
    for kind, draft in (drafts(told) | calls(told)).items():
        assert (report_of(draft).parts or NO_PARTS) == parts, kind


def test_cached_input_of_a_realtime_session_is_read_beside_the_figures() -> None:
    told = {**WHOLE, "input_token_details": {"cached_tokens": 1920}}
    for kind, draft in (drafts(told) | calls(told)).items():
        usage = report_of(draft).usage
        assert (usage.input_tokens, usage.cached_input_tokens) == (98, 1920), kind


def test_of_a_call_whose_figures_exceed_its_total_that_alone_counts() -> None:
    for names in (("input_tokens", "output_tokens"), ("prompt_tokens", "completion_tokens")):
        for draft in calls({names[0]: 2244, names[1]: 2265, "total_tokens": 2265}).values():
            assert report_of(draft).usage == Usage(total_tokens=2265)


def test_the_names_of_a_model_call_share_no_token_and_its_own_cost_counts() -> None:
    own = {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 10}
    for draft in calls({**own, "cost_usd": 0.5, "usage": {**CHAT, "cost": 0.25}}).values():
        assert report_of(draft).usage == Usage(100, 40, None, 10, cost_nanos=500_000_000)
    for draft in calls({**own, "usage": {**CHAT, "cost": 0.25}}).values():
        assert report_of(draft).usage == Usage(100, 40, None, 10, cost_nanos=250_000_000)


def test_usage_that_nobody_knows_is_nothing_to_warn_of() -> None:
    one = {
        "event_id": "e",
        "client_seq": 1,
        "run_key": "r",
        "type": "model.call",
        "data": {"model": "m", "usage": None},
    }
    found = endpoint_of(NATIVE, "POST", "/api/v1/events").decode(make_call({"client_id": "c", "events": [one]}))
    assert (report_of(found.items[0]).usage, found.warnings) == (Usage(), ())


WRONG_FIGURE = {**CHAT, "completion_tokens_details": {"reasoning_tokens": -1}}


@pytest.mark.parametrize(
    ("odd", "tokens"),
    [({"sum": 3}, None), ("1000", None), ([1000], None), (WRONG_FIGURE, 1050)],
    ids=["no form", "a text", "a list", "one wrong figure"],
)
def test_what_cannot_be_read_of_an_object_of_usage_is_said(odd: Any, tokens: int | None) -> None:
    one = {"event_id": "e", "client_seq": 1, "run_key": "r", "type": "model.call", "data": {"model": "m", "usage": odd}}
    found = endpoint_of(NATIVE, "POST", "/api/v1/events").decode(make_call({"client_id": "c", "events": [one]}))
    assert report_of(found.items[0]).usage.all_tokens() == tokens
    assert [warning.field for warning in found.warnings] == ["data.usage"]
