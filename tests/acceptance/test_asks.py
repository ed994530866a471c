"""`ask(timeout=)` at its edge, against a real server: whichever the server took first counts, for both sides alike.

A person answers in the moment in which the agent withdraws. Either the answer is taken (200) and `ask` returns it, or
it is refused (409) and `ask` raises TimeoutError; and the log agrees.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.models.test import TestModel

from tests.acceptance.feeds import create_run
from tests.support.samples import first
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until, wait_until_async
from towerlog.sdk.integrations.pydantic_ai import adapt
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import AsyncRun, Run
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.work.app import App
from towerlog.sdk.work.worker import Worker

ROUNDS = 30
SHORT_S = 0.05
"""The timeout: too short for anybody who does not wait for it to pass."""


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose limits the rounds do not meet."""
    made = Server(tmp_path_factory.mktemp("asks") / "data", NO_LIMITS).start()
    yield made
    made.close()


class Person:
    """A run's sink with a person beside it, who answers each question in the moment in which it is withdrawn.

    Of three rounds one answers surely before the withdrawal; in the others either may be first at the server.
    """

    def __init__(self, inner: Any, client: Any, thread_id: str) -> None:
        self.url = inner.url
        self.rounds: list[tuple[str, threading.Thread]] = []
        self.statuses: dict[str, int] = {}
        self._inner = inner
        self._client = client
        self._thread_id = thread_id

    def put(self, event: dict[str, Any]) -> None:
        if event["type"] != "run.question_withdrawn":
            self._inner.put(event)
            return
        run_id, question_id, text = wait_until(self._open_question, "the question")
        answer = threading.Thread(target=self._answer, args=(run_id, question_id, text), daemon=True)
        place = len(self.rounds) % 3
        self.rounds.append((text, answer))
        if place == 0:
            self._inner.put(event)
        answer.start()
        if place == 2:
            answer.join(60)
        if place != 0:
            self._inner.put(event)

    def expect(self, run: BaseRun, waiting: bool) -> None:
        self._inner.expect(run, waiting)

    def _open_question(self) -> tuple[str, int, str] | None:
        known = self._client.get(f"/v1/threads/{self._thread_id}/runs")
        if known.status_code == 404:  # the time of the question may be up before the run's beginning has arrived
            return None
        [run] = known.raise_for_status().json()
        shown = self._client.get(f"/v1/runs/{run['run_id']}").raise_for_status().json()
        return (shown["run_id"], shown["question_id"], shown["question"]) if shown["question"] else None

    def _answer(self, run_id: str, question_id: int, text: str) -> None:
        body = {"content": f"to {text}", "question_id": question_id}
        self.statuses[text] = self._client.post(f"/v1/runs/{run_id}/input", json=body).status_code


Beside = Callable[[Any], Person]


def blocking(run: Run, beside: Beside) -> list[str]:
    """Asks in `ROUNDS` rounds; what came of each."""
    run.sink = beside(run.sink)
    found = []
    for number in range(ROUNDS):
        try:
            found.append(run.ask(f"question {number}", timeout=SHORT_S))
        except TimeoutError:
            found.append("nothing")
    return found


async def awaited(run: AsyncRun, beside: Beside) -> list[str]:
    """The same of async code."""
    run.sink = beside(run.sink)
    found = []
    for number in range(ROUNDS):
        try:
            found.append(await run.ask(f"question {number}", timeout=SHORT_S))
        except TimeoutError:
            found.append("nothing")
    return found


async def by_a_tool(run: AsyncRun, beside: Beside) -> list[str]:
    """The same in the tool of a pydantic-ai agent."""
    agent: Agent[Any, Any] = Agent(TestModel(), deps_type=AsyncRun)
    found: list[str] = []

    @agent.tool
    async def ask(context: RunContext[AsyncRun]) -> str:
        found.extend(await awaited(context.deps, beside))
        return "asked"

    await adapt(agent)(run)
    return found


def recorded(server: Server, thread_id: str, beside: Beside, tmp_path: Path, is_async: bool) -> list[str]:
    recorder = Recorder(server.base_url, ADMIN_KEY, spool_dir=tmp_path)

    async def asking() -> list[str]:
        async with recorder.record_run("asker", thread_id) as run:
            return await awaited(run, beside)

    try:
        if is_async:
            return asyncio.run(asking())
        with recorder.record_run("asker", thread_id) as run:
            return blocking(run, beside)
    finally:
        assert recorder.close(20)


def worked(server: Server, thread_id: str, beside: Beside, agent: Callable[..., Any]) -> list[str]:
    app, found = App(), []
    name = f"asker-{uuid4().hex[:8]}"
    if asyncio.iscoroutinefunction(agent):

        @app.agent(name)
        async def serve(run: AsyncRun) -> None:
            found.extend(await agent(run, beside))
    else:

        @app.agent(name)
        def serve_sync(run: Run) -> None:
            found.extend(agent(run, beside))

    client = server.client()
    run_id = create_run(client, thread_id, agent=name, input="go")["run_id"]

    async def main() -> None:
        worker = Worker(app, AsyncHttp(server.base_url, ADMIN_KEY))
        working = asyncio.create_task(worker.run())
        await wait_until_async(lambda: ended(client, run_id), "the end of the run")
        worker.stop()
        await working

    asyncio.run(main())
    return found


def ended(client: Any, run_id: str) -> bool:
    return client.get(f"/v1/runs/{run_id}").raise_for_status().json()["status"] == "completed"


@pytest.mark.parametrize(
    "kind", first(["recorder", "async worker", "worker", "async recorder", "pydantic-ai"], quick=2)
)
def test_whichever_the_server_took_first_counts_for_both_sides(own_server: Server, tmp_path: Path, kind: str) -> None:
    thread_id = f"edge-{uuid4().hex[:8]}"
    people: list[Person] = []

    def beside(sink: Any) -> Person:
        people.append(Person(sink, own_server.client(), thread_id))
        return people[-1]

    if kind.endswith("recorder"):
        found = recorded(own_server, thread_id, beside, tmp_path, kind.startswith("async"))
    else:
        agent = {"worker": blocking, "async worker": awaited, "pydantic-ai": by_a_tool}[kind]
        found = worked(own_server, thread_id, beside, agent)
    [person] = people
    for _, answer in person.rounds:
        answer.join(60)
    assert len(person.rounds) == ROUNDS, "each round is at its edge"
    for number, came in enumerate(found):
        status = person.statuses[f"question {number}"]
        assert (status, came) in ((200, f"to question {number}"), (409, "nothing")), (number, status, came)
    assert all(person.statuses[f"question {number}"] == 200 for number in range(2, ROUNDS, 3))
    assert_the_log_agrees(own_server.client(), thread_id, [*person.statuses.values()].count(200))


def assert_the_log_agrees(client: Any, thread_id: str, answered: int) -> None:
    [run] = client.get(f"/v1/threads/{thread_id}/runs").json()
    events: list[dict[str, Any]] = []
    while (
        page := client.get(
            f"/api/v1/runs/{run['run_id']}/events", params={"after_seq": events[-1]["seq"] if events else 0}
        )
        .raise_for_status()
        .json()["data"]
    ):
        events += page
    data = {kind: [one["data"] for one in events if one["type"] == kind] for kind in {one["type"] for one in events}}
    assert len(data["run.input"]) == answered
    assert len(data.get("run.question_withdrawn", [])) == ROUNDS - answered
    taken = [one for one in data["command.acknowledged"] if one["type"] == "input"]
    assert len(taken) == answered
    assert all("taken" not in one for one in taken)
