"""Agents as their own generator renders them, and programs of their SDK, in an environment of their own.

The environment is made once, under `.venv-agents` of the repository, and again when the pins change: it takes two
minutes and 450 MB, so it is no dependency of the project. `NINETRIX` is the generator. Only its templates and the code
that fills them are used, without what its command line depends on (Docker, PostgreSQL).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.support.server import ADMIN_KEY, Server

HERE = Path(__file__).parent
HOME = HERE.parents[2] / ".venv-agents"
NINETRIX = "ninetrix==0.2.8"
MODEL = "gpt-4o-mini"


def environment() -> Path:
    """The interpreter of the agents' environment, made when it is not there or its pins have changed."""
    python = HOME / "bin" / "python"
    requirements = HERE / "requirements.txt"
    stamp = HOME / "made-of"
    wanted = hashlib.sha256(requirements.read_bytes() + NINETRIX.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", requirements], check=True)
        subprocess.run([*install, "--no-deps", NINETRIX], check=True)
        stamp.write_text(wanted)
    return python


def agentfile(name: str, *, approve: tuple[str, ...] = (), serve: bool = False) -> str:
    """The file of an agent that can remember things and send out sub-agents.

    One that serves has a trigger as well: without one the template of 0.2.8 is no valid Python.
    """
    return f"""schema_version: "1.1"
governance:
  max_budget_per_run: 100
  rate_limit: "0"
  human_approval: {{enabled: {str(bool(approve)).lower()}, actions: [{", ".join(approve)}]}}
agents:
  {name}:
    metadata: {{name: {name}, role: helper, goal: to help}}
    runtime: {{provider: openai, model: {MODEL}}}
    serve: {str(serve).lower()}
    triggers: {"[{type: webhook, endpoint: /hook}]" if serve else "[]"}
    tools:
      - {{name: memory, source: "builtin://memory"}}
      - {{name: sub_agent, source: "builtin://sub_agent"}}
"""


class Stock:
    """Starts agents of one folder against one server and one model server."""

    def __init__(self, server: Server, model_url: str, folder: Path) -> None:
        """`model_url`: where the models are."""
        self.python = environment()
        self.server = server
        self.folder = folder
        self._model_url = model_url
        self._started: list[subprocess.Popen[str]] = []

    def env(self, **more: str) -> dict[str, str]:
        """The environment of an agent: where it reports, where its models are."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "OPENAI_API_KEY": "none",
            "OPENAI_API_BASE": self._model_url,
            "OPENAI_BASE_URL": self._model_url,
            # Or it would ask the internet for prices.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "AGENTFILE_API_URL": self.server.base_url,
            "AGENTFILE_RUNNER_TOKEN": ADMIN_KEY,
            "NINETRIX_API_URL": self.server.base_url,
            "NINETRIX_RUNNER_TOKEN": ADMIN_KEY,
            "PYTHONUNBUFFERED": "1",
            **more,
        }

    def render(self, name: str, **options: object) -> Path:
        """The program of an agent."""
        described, program = self.folder / f"{name}.yaml", self.folder / f"{name}.py"
        described.write_text(agentfile(name, **options))  # type: ignore[arg-type]  # handed through
        subprocess.run([self.python, HERE / "render.py", described, program], check=True, env=self.env())
        return program

    def start(self, program: Path, thread: str = "", **env: str) -> subprocess.Popen[str]:
        """Starts a program; it reads its messages from standard input."""
        known = self.env(**({"AGENTFILE_THREAD_ID": thread} if thread else {}), **env)
        log = (self.folder / f"{program.stem}.log").open("a")
        agent = subprocess.Popen(
            [self.python, program],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=known,
        )
        log.close()
        self._started.append(agent)
        return agent

    def log(self, name: str) -> str:
        """What an agent has printed so far."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        """Ends what still runs."""
        for agent in self._started:
            if agent.poll() is None:
                agent.kill()
            agent.wait()
            if agent.stdin is not None:
                agent.stdin.close()
