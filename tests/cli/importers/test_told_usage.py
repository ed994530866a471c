"""Usage stands in several places of a file: each is found once, and what cannot be read is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.importers import samples
from tests.cli.importers.samples import entry, of_model, written
from tests.cli.importers.test_formats import of_type, read, source_of, total
from towerlog.cli.importers.files import events_in, format_of
from towerlog.errors import Malformed

SUM = {
    "input_tokens": 1200,
    "output_tokens": 90,
    "total_tokens": 1290,
    "input_token_details": {"cache_read": 1000},
    "output_token_details": {"reasoning": 40},
}
CHAT = {
    "prompt_tokens": 1200,
    "completion_tokens": 90,
    "total_tokens": 1290,
    "prompt_tokens_details": {"cached_tokens": 1000},
    "completion_tokens_details": {"reasoning_tokens": 40},
}
PLACES: dict[str, dict[str, Any]] = {
    "its own wrappers": {"outputs": {"messages": [], "usage_metadata": SUM}},
    "metadata": {"outputs": {"a": 1}, "usage_metadata": SUM},
    "a raw answer": {"outputs": {"id": "c", "choices": [], "usage": CHAT}},
    "beside generations": {"outputs": {"generations": [], "llm_output": {"token_usage": CHAT}}},
    "several": {"outputs": {"usage_metadata": SUM, "usage": CHAT}, "usage_metadata": SUM},
}


def of_langsmith(told: dict[str, Any]) -> dict[str, Any]:
    """A model that was called by itself, of which LangSmith has counted nothing."""
    one = {**samples.langsmith()[1], "trace_id": "r-model", "parent_run_id": None}
    for name in ("prompt_tokens", "completion_tokens", "total_tokens", "total_cost"):
        one.pop(name, None)
    for name in ("prompt_token_details", "completion_token_details"):
        one.pop(name, None)
    metadata = {"ls_model_name": "gpt-4o"} | (
        {"usage_metadata": told["usage_metadata"]} if "usage_metadata" in told else {}
    )
    return {**one, "outputs": told["outputs"], "extra": {"metadata": metadata}}


def skipped_in(path: Path) -> Counter[str]:
    """What a file has that says nothing that could be used."""
    source, found = source_of(path), Counter[str]()
    list(events_in(source, str(format_of(source)), lambda kind: found.update([kind])))
    return found


@pytest.mark.parametrize("place", PLACES)
def test_langsmith_tells_usage_in_many_places(tmp_path: Path, place: str) -> None:
    events = read(written(tmp_path / "runs.jsonl", of_langsmith(PLACES[place])))
    [call] = of_type(events, "model.call")
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    assert [call.get(name) for name in names] == [200, 1000, 50, 40]
    assert total(events) == (1, 1200, 90)


def test_usage_of_an_unknown_form_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "runs.jsonl", of_langsmith({"outputs": {"usage": {"credits": 7}}}))
    assert skipped_in(path) == Counter({"usage of an unknown form": 1})


def test_a_cost_beside_an_answer_is_taken(tmp_path: Path) -> None:
    told = {"outputs": {"usage_metadata": {**SUM, "total_cost": 0.25}}}
    [call] = of_type(read(written(tmp_path / "runs.jsonl", of_langsmith(told))), "model.call")
    assert call["cost_usd"] == "0.25"


@pytest.mark.parametrize("names", [("prompt_cost", "completion_cost"), ("input_cost", "output_cost")])
def test_costs_of_input_and_output_add_up(tmp_path: Path, names: tuple[str, str]) -> None:
    one = of_langsmith({"outputs": {"usage_metadata": SUM}}) | dict(zip(names, (0.3, 0.2), strict=True))
    [call] = of_type(read(written(tmp_path / "runs.jsonl", one)), "model.call")
    assert call["cost_usd"] == "0.5"


OF_LANGFUSE = {
    "plain": ({"usageDetails": {"input": 1200, "output": 90}}, [1200, None, None, 90, None]),
    "beside": (
        {
            "usageDetails": {
                "input": 200,
                "input_cached_tokens": 1000,
                "output": 50,
                "output_reasoning_tokens": 40,
                "total": 1290,
            }
        },
        [200, 1000, None, 50, 40],
    ),
    "without a total": (
        {"usageDetails": {"input": 200, "input_cached_tokens": 1000, "output": 90}},
        [200, 1000, None, 90, None],
    ),
    "of LangChain": (
        {"usageDetails": {"input": 200, "input_cache_read": 1000, "output": 90}},
        [200, 1000, None, 90, None],
    ),
    "of Anthropic": (
        {
            "usageDetails": {
                "input": 200,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 50,
                "output": 90,
            }
        },
        [200, 1000, 50, 90, None],
    ),
    "of OpenAI": ({"usageDetails": CHAT}, [200, 1000, None, 50, 40]),
    "oldest": ({"promptTokens": 1200, "completionTokens": 90, "totalTokens": 1290}, [1200, None, None, 90, None]),
    "of nobody": (
        {"usage": {"unit": "TOKENS"}, "promptTokens": 0, "completionTokens": 0, "totalTokens": 0},
        [None] * 5,
    ),
    "older": ({"usage": {"input": 1200, "output": 90, "total": 1290, "unit": "TOKENS"}}, [1200, None, None, 90, None]),
}


def of_langfuse(told: dict[str, Any]) -> dict[str, Any]:
    one = {"id": "o", "traceId": "t", "type": "GENERATION", "name": "g", "model": "gpt-4o"}
    times = {"startTime": "2026-04-02T10:00:00.000Z", "endTime": "2026-04-02T10:00:01.000Z"}
    return {"id": "t", "name": "a", "timestamp": times["startTime"], "observations": [one | times | told]}


@pytest.mark.parametrize("form", OF_LANGFUSE)
def test_langfuse_keeps_usage_in_the_form_of_whoever_told_it(tmp_path: Path, form: str) -> None:
    told, expected = OF_LANGFUSE[form]
    path = written(tmp_path / "traces.jsonl", of_langfuse(told))
    [call] = of_type(read(path), "model.call")
    names = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    assert [call.get(name) for name in names] == expected
    assert not skipped_in(path)


@pytest.mark.parametrize("cost", [{"totalCost": 0.5}, {"inputCost": 0.3, "outputCost": 0.2}])
def test_the_older_usage_of_langfuse_has_costs_too(tmp_path: Path, cost: dict[str, float]) -> None:
    told = {"usage": {"input": 1200, "output": 90, "total": 1290, "unit": "TOKENS", **cost}}
    path = written(tmp_path / "traces.jsonl", of_langfuse(told))
    [call] = of_type(read(path), "model.call")
    assert (call["cost_usd"], call["input_tokens"], skipped_in(path)) == ("0.5", 1200, Counter())


def test_a_page_of_langfuse_without_its_place_is_read(tmp_path: Path) -> None:
    told = of_langfuse({"usageDetails": {"input": 1200, "output": 90}})
    path = written(tmp_path / "page.json", {"data": [told]})
    assert of_type(read(path), "model.call")[0]["input_tokens"] == 1200
    with pytest.raises(Malformed):
        format_of(source_of(written(tmp_path / "other.json", {"data": [{"a": 1}]})))


def test_parts_of_a_cost_add_up_where_none_is_missing(tmp_path: Path) -> None:
    tokens = {"usageDetails": {"input": 1200, "output": 90}}
    whole = written(tmp_path / "a.jsonl", of_langfuse({**tokens, "costDetails": {"input": 0.3, "output": 0.2}}))
    [call] = of_type(read(whole), "model.call")
    assert (call["cost_usd"], skipped_in(whole)) == ("0.5", Counter())
    part = written(tmp_path / "b.jsonl", of_langfuse({**tokens, "costDetails": {"input": 0.3}}))
    [call] = of_type(read(part), "model.call")
    assert ("cost_usd" in call, skipped_in(part)) == (False, Counter({"a part of a cost": 1}))


def session(iterations: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    """A session whose one message of the model took several calls."""
    usage = {"input_tokens": 1000, "output_tokens": 100, "iterations": iterations}
    said = of_model("msg_1", {"type": "text", "text": "hi"}, usage=usage)
    return [entry(1, "user", {"role": "user", "content": "hello"}), entry(2, "assistant", said, **more)]


PART = {"type": "message", "input_tokens": 1000, "output_tokens": 100}
ADVISOR = {"type": "advisor_message", "model": "claude-opus-4-5", "input_tokens": 5000, "output_tokens": 200}
COMPACTION = {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500}


def test_claude_code_tells_calls_beside_a_message(tmp_path: Path) -> None:
    events = read(written(tmp_path / "s.jsonl", *session([PART, ADVISOR, COMPACTION])))
    told = [(call["model"], call["input_tokens"], call["output_tokens"]) for call in of_type(events, "model.call")]
    sonnet = "claude-sonnet-4-5-20250929"
    assert told == [(sonnet, 1000, 100), ("claude-opus-4-5", 5000, 200), (sonnet, 180_000, 3500)]
    ids = [event.event_id for event in events]
    assert len(set(ids)) == len(ids)


def test_a_told_cost_is_that_of_all_calls(tmp_path: Path) -> None:
    calls = of_type(read(written(tmp_path / "s.jsonl", *session([PART, ADVISOR], costUSD=0.5))), "model.call")
    assert [call["cost_usd"] for call in calls] == ["0.5", 0]


def test_an_iteration_of_an_unknown_type_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "s.jsonl", *session([PART, {"type": "oracle", "input_tokens": 7}]))
    assert total(read(path)) == (1, 1000, 100)
    assert skipped_in(path) == Counter({"tokens of iteration oracle": 1})
