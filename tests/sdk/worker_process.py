"""A `towerlog worker` as a process of its own, and the few things that tests say to a server about runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2

from tests.support.launcher import launch
from tests.support.server import Server, clean_environment, wait_for_exit
from tests.support.wait import DEADLINE_S, wait_until

ROOT = Path(__file__).parents[2]
END_DEADLINE_S = 60.0
SERVED = "tests.sdk.served_agents:app"


class WorkerProcess:
    """One worker; its log and its dead letters are in `folder`. Without a key it goes by the data folder."""

    def __init__(self, server: Server, key: str | None, folder: Path, *options: str, app: str = SERVED) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log_path = folder / "worker.log"
        named = {"TOWERLOG_API_KEY": key, "TOWERLOG_URL": server.base_url} if key else beside(server)
        env = clean_environment(named)
        with self.log_path.open("ab") as log:
            # The launcher finds `app` in its own path; what agents start finds it in theirs.
            self.process = launch(
                ["worker", "--app", app, *options],
                {**env, "XDG_STATE_HOME": str(folder), "PYTHONPATH": str(ROOT)},
                log.fileno(),
            )
        wait_until(lambda: " serves " in self.log or self.process.poll() is not None, "the worker")

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def worker_id(self) -> str:
        return self.log.partition("worker ")[2].partition(" ")[0]

    @property
    def dead_letters(self) -> str:
        return "".join(path.read_text() for path in (self.folder / "towerlog" / "dead-letters").glob("*"))

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """As a crash would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code that came of it."""
        self.signal(signal.SIGTERM)
        assert wait_for_exit(self.process, END_DEADLINE_S), self.log
        return self.process.returncode


def beside(server: Server) -> dict[str, str]:
    """The settings of a command on the machine of a server."""
    return {"TOWERLOG_DATA_DIR": str(server.data_dir), "TOWERLOG_PORT": str(server.port)}


class Control:
    """What the control side does."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client

    def create(self, thread: str, agent: str | None = None, text: str = "go") -> str:
        """A queued run."""
        body = {"input": text} | ({"agent": agent} if agent else {})
        reply = self.client.post(f"/v1/threads/{thread}/runs", json=body)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["run_id"])

    def detail(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/v1/runs/{run_id}").json()
        return found

    def until(self, run_id: str, status: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Waits for a status; the run as it was then: it may already be another."""

        def reached() -> dict[str, Any] | None:
            found = self.detail(run_id)
            return found if found["status"] == status else None

        return wait_until(reached, f"{run_id} to be {status}", deadline_s=deadline_s) or {}

    def events(self, run_id: str, *types: str) -> list[dict[str, Any]]:
        """The log of a run, or its events of some types."""
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            page = self.client.get(f"/api/v1/runs/{run_id}/events", params={"limit": 500, "after_seq": after}).json()
            found += page["data"]
            if not page["data"]:
                return [event for event in found if not types or event["type"] in types]
            after = page["data"][-1]["seq"]

    def text(self, run_id: str) -> str:
        """All that the agent has said."""
        return "".join(event["data"]["content"] for event in self.events(run_id, "message.delta"))

    def until_says(self, run_id: str, words: str) -> None:
        wait_until(lambda: words in self.text(run_id), f"the agent to say {words!r}")

    def cancel(self, run_id: str) -> None:
        assert self.client.post(f"/v1/runs/{run_id}:cancel", json={}).status_code == 200

    def answer(self, run_id: str, content: str) -> None:
        body = {"content": content, "question_id": self.detail(run_id)["question_id"]}
        reply = self.client.post(f"/v1/runs/{run_id}/input", json=body)
        assert reply.status_code == 200, reply.text

    def late_report(self, run_id: str, worker_id: str, epoch: int, words: str) -> httpx2.Response:
        """What a worker sends that has lost its lease and does not know."""
        event = {"event_id": str(uuid4()), "client_seq": 9000, "type": "message.delta", "data": {"content": words}}
        body = {"worker_id": worker_id, "lease_epoch": epoch, "client_id": "late", "events": [event]}
        return self.client.post(f"/api/v1/runs/{run_id}:report", json=body)

    def quarantined(self, run_id: str) -> str:
        return str(self.client.get(f"/api/v1/runs/{run_id}/quarantine").text)
