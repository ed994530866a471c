"""An attempt ends once, in the way that its agent, its lease and its worker have left it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.sdk.support.lane_server import LaneServer
from tests.support.wait import wait_until_async
from towerlog.sdk.record.current import current_run
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.work.agent_threads import AgentThreads
from towerlog.sdk.work.app import App
from towerlog.sdk.work.attempt import Attempt
from towerlog.sdk.work.dead_letters import DeadLetters
from towerlog.sdk.work.lane import Lane
from towerlog.sdk.work.lane_api import Holder, LaneApi
from towerlog.sdk.work.lease import LeaseClock

CLAIMED = {"run": {"thread_id": "t"}, "input": "in", "persona": {"agent": "a"}, "route": None, "checkpoint": None}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.asynccontextmanager
async def attempt(
    tmp_path: Any, work: Callable[[Any], Any]
) -> AsyncIterator[tuple[LaneServer, asyncio.Task[None], Any]]:
    """An attempt under way: its server, its task, and the event that makes it give the run back."""
    app, threads, hand_back = App(), AgentThreads(), asyncio.Event()
    app.add("a", work)
    agent = app.find("a")
    assert agent is not None
    async with LaneServer().running() as server:
        http = AsyncHttp(server.url, "key")
        calls = LaneApi(http, "w", 60)
        lane = Lane(calls, Holder("r", "w", 7, "w:7"), LeaseClock(60), DeadLetters(tmp_path, "w"))
        task = asyncio.create_task(Attempt(agent, lane, CLAIMED, threads, calls).carry_out(hand_back))
        try:
            yield server, task, hand_back
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await http.close()
            threads.stop()


def last(server: LaneServer) -> tuple[str, Any]:
    event = list(server.kept.values())[-1]
    return event["type"], event["data"]


async def test_a_run_has_what_its_claim_brought(tmp_path) -> None:
    seen: list[Any] = []

    async def work(run: Any) -> None:
        seen.extend([run.input, run.persona, run.route, run.resume, run.run_id, run.thread, run.fencing_token])
        seen.append(current_run() is run)

    async with attempt(tmp_path, work) as (server, task, _):
        await asyncio.wait_for(task, 60)
        assert seen == ["in", {"agent": "a"}, None, None, "r", "t", 7, True]
        assert last(server) == ("run.completed", {})


async def test_an_end_that_is_refused_becomes_a_failure(tmp_path) -> None:
    async with attempt(tmp_path, lambda run: "x") as (server, task, _):
        server.before = lambda report: (
            (413, {"code": "too_large"}) if any(e["type"] == "run.completed" for e in report["events"]) else True
        )
        await asyncio.wait_for(task, 60)
        assert last(server)[0] == "run.failed"
        assert "rejected" in last(server)[1]["error"]


@pytest.mark.parametrize(
    ("error", "words"),
    [(None, "agent a completed after "), (ValueError("x"), "agent a failed after ")],
    ids=["completed", "failed"],
)
async def test_the_log_says_how_an_agent_has_ended(tmp_path, caplog, error, words) -> None:
    async def work(run: Any) -> None:
        if error:
            raise error

    with caplog.at_level("INFO", "towerlog.worker"):
        async with attempt(tmp_path, work) as (_, task, _):
            await asyncio.wait_for(task, 60)
    assert [one for one in caplog.messages if one.startswith("run r: " + words)]


async def test_an_agent_that_cancels_itself_has_failed(tmp_path) -> None:
    async def work(run: Any) -> None:
        raise asyncio.CancelledError

    async with attempt(tmp_path, work) as (server, task, _):
        await asyncio.wait_for(task, 60)
        assert last(server)[0] == "run.failed"


async def test_an_agent_that_finishes_although_it_was_cancelled_has_finished(tmp_path) -> None:
    async def work(run: Any) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "tidied up"
        return "never"

    async with attempt(tmp_path, work) as (server, task, _):
        await wait_until_async(lambda: server.reports, "the first report")
        server.command({"command_id": 1, "type": "cancel"})
        await asyncio.wait_for(task, 60)
        assert server.types == ["command.acknowledged", "run.completed"]


async def test_a_sync_agent_is_held_at_its_next_report_while_paused(tmp_path) -> None:
    go_on, went = threading.Event(), threading.Event()

    def work(run: Any) -> None:
        run.message_delta("before")
        go_on.wait(60)
        run.message_delta("after")
        went.set()

    async with attempt(tmp_path, work) as (server, task, _):
        await wait_until_async(lambda: "message.delta" in server.types, "the first word")
        asked = len(server.reports)
        server.command({"command_id": 1, "type": "pause"})
        # The first report after it may be the one whose reply has it; the second one comes when that was read.
        await wait_until_async(lambda: len(server.reports) > asked + 1, "the command to have come")
        go_on.set()
        await wait_until_async(lambda: "run.paused" in server.types, "the pause")
        assert not went.is_set()
        assert server.types.count("message.delta") == 1
        server.command({"command_id": 2, "type": "resume"})
        await asyncio.wait_for(task, 60)
        kinds = [kind for kind in server.types if kind != "command.acknowledged"]
        assert kinds == ["message.delta", "run.paused", "run.resumed", "message.delta", "run.completed"]
        assert server.commands == []


async def test_an_async_agent_waits_at_its_pause_point(tmp_path) -> None:
    async def work(run: Any) -> str:
        await wait_until_async(lambda: run.pausing, "somebody to want a pause")
        await run.pause_point()
        return "went on"

    async with attempt(tmp_path, work) as (server, task, _):
        server.command({"command_id": 1, "type": "pause"})
        await wait_until_async(lambda: "run.paused" in server.types, "the pause")
        # The command is acknowledged by the pause itself: until then the server repeats it.
        assert server.types == ["command.acknowledged", "run.paused"]
        assert not task.done()
        server.command({"command_id": 2, "type": "resume"})
        await asyncio.wait_for(task, 60)
        assert server.types[2:] == ["command.acknowledged", "run.resumed", "run.completed"]


async def test_a_sync_agent_learns_of_a_lost_lease_by_its_flag(tmp_path) -> None:
    stopped = threading.Event()

    def work(run: Any) -> None:
        while not run.cancelled:
            stopped.wait(0.01)
        stopped.set()

    async with attempt(tmp_path, work) as (server, task, _):
        server.before = lambda report: (409, {"code": "lease_lost"})
        await asyncio.wait_for(task, 60)
        assert stopped.is_set()
        assert server.types == []


async def test_a_run_that_is_given_back_keeps_what_was_told_and_has_no_end(tmp_path) -> None:
    async def work(run: Any) -> None:
        run.message_delta("so far")
        await asyncio.Event().wait()

    async with attempt(tmp_path, work) as (server, task, hand_back):
        await wait_until_async(lambda: server.reports, "the first report")
        hand_back.set()
        await asyncio.wait_for(task, 60)
        assert server.types == ["message.delta"]
        assert server.released == [{"worker_id": "w", "lease_epoch": 7}]


async def test_an_agent_that_finishes_in_the_last_moment_is_not_given_back(tmp_path) -> None:
    async def work(run: Any) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done"

    async with attempt(tmp_path, work) as (server, task, hand_back):
        await wait_until_async(lambda: server.reports, "the first report")
        hand_back.set()
        await asyncio.wait_for(task, 60)
        assert last(server) == ("run.completed", {"result": "done"})
        assert server.released == []
