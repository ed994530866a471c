"""Frameworks that report by OpenTelemetry: the program of each guide is one tree of runs with its tool, and what its
models have used counts once. The models are asked by the framework's own clients, and a server of the test answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.sdk.integrations.clients.provider import provider
from tests.sdk.integrations.frameworks import NEWEST, PINNED, Told, python_of, run_program
from tests.support.pages import blocks
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server

GUIDES = Path(__file__).parents[3] / "docs" / "integrations"
MAX_LINES = 80
"""Of a guide."""


class Expected(NamedTuple):
    """What is seen of a framework."""

    environment: str
    agents: tuple[str, ...]
    """Of the runs, the parent first."""
    details: bool = True
    """Whether cached input is told apart."""
    tools: tuple[str, ...] = ("weather",)
    has_result: bool = True
    """Whether the tool's span has its result as an attribute."""


FRAMEWORKS = {
    "google-adk": Expected("google-adk", ("forecaster", "forecaster")),
    "smolagents": Expected("smolagents", ("forecaster",), details=False, tools=("weather", "final_answer")),
    "strands": Expected("strands", ("forecaster",), has_result=False),
    "llamaindex": Expected("llama-index", ("FunctionAgent",)),
    "crewai": Expected("crewai", ("Crew", "forecaster")),
}
"""Guide → what is seen."""
QUICK = ("google-adk", PINNED)
"""The one that is installed in little time; the others are tried in the slow tier."""
TRIED = [
    (name, versions) if (name, versions) == QUICK else pytest.param(name, versions, marks=pytest.mark.slow)
    for name in FRAMEWORKS
    for versions in (PINNED, NEWEST)
]


@pytest.mark.parametrize(("guide", "versions"), TRIED)
def test_the_program_of_a_guide_is_seen_whole_and_once(guide: str, versions: str, tmp_path: Path) -> None:
    expected = FRAMEWORKS[guide]
    text = (GUIDES / f"{guide}.md").read_text()
    assert text.count("\n") <= MAX_LINES
    [block] = blocks(text, "python")
    program = tmp_path / "program.py"
    program.write_text(block.text)
    python = python_of(expected.environment, versions)
    with Server(tmp_path / "data", NO_LIMITS) as server, provider() as url:
        told = Told(server, tmp_path / "state")
        try:
            run_program(python, program, {**told.env, **environment(server.base_url, url)})
            check(told, expected)
        finally:
            told.close()


def environment(server: str, models: str) -> dict[str, str]:
    """Where spans go, and where models are asked."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": server,
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{ADMIN_KEY}",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": f"{models}/v1",
        "OPENAI_API_BASE": f"{models}/v1",
        "GOOGLE_API_KEY": "k",
        "GOOGLE_GEMINI_BASE_URL": models,
        "CREWAI_DISABLE_TELEMETRY": "true",
        "CREWAI_TRACING_ENABLED": "false",
    }


def check(told: Told, expected: Expected) -> None:
    runs = told.runs("talk-7")
    assert len(runs) == len(told.all_runs()) == len(expected.agents)
    assert {run.status for run in runs} == {"completed"}
    root = told.run("talk-7")
    [*below] = [run for run in runs if run.run_id != root.run_id]
    assert (root.agent, *(run.agent for run in below)) == expected.agents
    assert all(run.parent_run_id == root.run_id for run in below)
    events = [event for run in runs for event in told.events(run)]
    used = [total(run.raw["usage"]) for run in runs]
    assert sum(one["input"] for one in used) == 2 * 1200, "two calls, each once"
    assert sum(one["output"] for one in used) == 2 * 90
    if expected.details:
        assert sum(one["cached"] for one in used) == 2 * 1000
    results = [event.data for event in events if event.type == "tool.result"]
    assert tuple(one["tool"] for one in results) == expected.tools
    assert all(one["success"] for one in results)
    if expected.has_result:
        assert "cold in Oslo" in str(results[0]["result"])
    assert len([event for event in events if event.type == "tool.call"]) == len(expected.tools)


def total(usage: dict[str, Any]) -> dict[str, int]:
    """Tokens of a run, the unknown ones as none."""
    counted = {name: usage[name] or 0 for name in usage if name.endswith("tokens")}
    cached = counted["cached_input_tokens"]
    return {
        "input": counted["input_tokens"] + cached + counted["cache_write_tokens"],
        "output": counted["output_tokens"] + counted["reasoning_tokens"],
        "cached": cached,
    }
