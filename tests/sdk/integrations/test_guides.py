"""The guides to frameworks: their code runs as it stands, each block a program of its own, where the framework is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.sdk.integrations.claude_agent.claude import INIT, RESULT, TEXT, stand_in
from tests.sdk.integrations.clients.provider import provider
from tests.sdk.integrations.frameworks import Told, python_of, run_program
from tests.sdk.integrations.test_traced import FRAMEWORKS as TRACED
from tests.support.pages import blocks
from tests.support.server import NO_LIMITS, Server

GUIDES = Path(__file__).parents[3] / "docs" / "integrations"
FRAMEWORKS = {
    "claude-agent": "claude-agent",
    "langchain": "langchain",
    "model-clients": "openai",
    "openai-agents": "openai",
}
"""Guide → the environment that its code needs."""
MAX_LINES = 125
"""Of a guide: about a page."""


def claude(folder: Path) -> dict[str, str]:
    """A stand-in for Claude Code on the path."""
    tools = folder / "tools"
    tools.mkdir()
    stand_in(tools)
    return {"PATH": f"{tools}:{os.environ['PATH']}", "CLAUDE_SCRIPT": json.dumps([[INIT, TEXT, RESULT]])}


def test_each_guide_has_its_environment() -> None:
    assert {page.stem for page in GUIDES.glob("*.md")} == {"README", *FRAMEWORKS, *TRACED}


SLOW = {"claude-agent"}
"""Those whose framework is hundreds of megabytes."""


@pytest.mark.parametrize(
    "guide", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in FRAMEWORKS]
)
def test_the_code_of_a_guide_runs_and_reports(guide: str, tmp_path: Path) -> None:
    text = (GUIDES / f"{guide}.md").read_text()
    assert text.count("\n") <= MAX_LINES
    python = python_of(FRAMEWORKS[guide])
    with Server(tmp_path / "data", NO_LIMITS) as server, provider() as url:
        told = Told(server, tmp_path / "state")
        # Traces of the SDK would leave this machine.
        keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "OPENAI_AGENTS_DISABLE_TRACING": "1"}
        env = {**told.env, **keys, "OPENAI_BASE_URL": f"{url}/v1", "ANTHROPIC_BASE_URL": url, **claude(tmp_path)}
        for number, block in enumerate(blocks(text, "python")):
            program = tmp_path / f"block{number}.py"
            program.write_text(block.text)
            run_program(python, program, env)
        assert told.all_runs(), "nothing was reported"
        told.close()
