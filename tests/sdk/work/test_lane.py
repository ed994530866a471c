"""A lane against a real server that misbehaves: what is told arrives once, or it is known that it did not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.support.lane_server import LaneServer
from tests.support.wait import wait_until_async
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.event_batch import STRANGE_TRIES
from towerlog.sdk.work.dead_letters import DeadLetters
from towerlog.sdk.work.lane import REPEAT_PAUSE_S, Lane
from towerlog.sdk.work.lane_api import Holder, LaneApi
from towerlog.sdk.work.lease import LeaseClock

LONG_S, SHORT_S = 60, 1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Now:
    """A clock that stands unless it is told to go on."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Held:
    """A lane, its server, and what came of both."""

    def __init__(
        self, server: LaneServer, folder: Path, lease_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.server = server
        self.http = AsyncHttp(server.url, "key")
        self.letters = DeadLetters(folder, "w")
        calls = LaneApi(self.http, "w", int(lease_s))
        self.clock = LeaseClock(lease_s, now)
        self.lane = Lane(calls, Holder("r", "w", 1, "w:1"), self.clock, self.letters)
        self.commands: list[dict[str, Any]] = []
        self.heard_after: list[int] = []
        """For each of them, how many reports the server had by then."""

    def hear(self, command: dict[str, Any]) -> None:
        self.commands.append(command)
        self.heard_after.append(len(self.server.reports))

    def say(self, *words: str) -> None:
        for word in words:
            self.lane.outbox.put({"type": "message.delta", "data": {"content": word}})

    @property
    def arrived(self) -> list[str]:
        return [event["data"]["content"] for event in self.server.kept.values() if event["type"] == "message.delta"]

    @property
    def dead(self) -> list[dict[str, Any]]:
        if not self.letters.path.exists():
            return []
        return [json.loads(line) for line in self.letters.path.read_text().splitlines()]


@contextlib.asynccontextmanager
async def held(folder: Path, lease_s: float = LONG_S, now: Callable[[], float] = time.monotonic) -> AsyncIterator[Held]:
    async with LaneServer().running() as server:
        one = Held(server, folder, lease_s, now)
        async with one.lane.held(one.hear):
            yield one
        await one.http.close()


def once(answer: Any) -> Any:
    """Misbehaves with the first report that has events, and never again."""
    left = [answer]

    def misbehave(report: dict[str, Any]) -> Any:
        return left.pop() if report["events"] and left else True

    return misbehave


async def test_events_arrive_in_order_and_are_waited_for(tmp_path) -> None:
    async with held(tmp_path) as one:
        one.say(*"abc")
        assert await one.lane.drained()
        assert one.arrived == ["a", "b", "c"]
        assert [event["client_seq"] for event in one.server.kept.values()] == [1, 2, 3]
    assert one.dead == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("answer", [None, (503, {"code": "overloaded"}), (429, {}), (500, {}), (401, {})])
async def test_a_report_that_failed_is_sent_again_and_kept_once(tmp_path, when, answer) -> None:
    async with held(tmp_path) as one:
        setattr(one.server, when, once(answer))
        one.say("a", "b")
        assert await one.lane.drained()
        assert one.arrived == ["a", "b"]
        sent = [event["event_id"] for report in one.server.reports for event in report["events"]]
        assert sent == [*one.server.kept, *one.server.kept]
    assert one.dead == []


async def test_an_event_that_is_refused_holds_up_no_other(tmp_path) -> None:
    def refuse(report: dict[str, Any]) -> Any:
        bad = any(event["data"].get("content") == "bad" for event in report["events"])
        return (422, {"code": "validation_failed", "message": "no"}) if bad else True

    async with held(tmp_path) as one:
        one.server.before = refuse
        one.say("a", "b", "bad", "c", "d")
        assert await one.lane.drained()
        assert one.arrived == ["a", "b", "c", "d"]
        notices = [event["data"] for event in one.server.kept.values() if event["type"] == "other"]
        assert [(notice["name"], notice["payload"]["from_seq"]) for notice in notices] == [("client.dropped", 3)]
        assert one.lane.refused == {"message.delta"}
    assert [line["event"]["data"]["content"] for line in one.dead] == ["bad"]


async def test_one_refused_in_its_result_is_kept_aside(tmp_path) -> None:
    def refuse(report: dict[str, Any]) -> Any:
        refused = {"event_id": "x", "status": "refused", "code": "id_reused", "message": "no"}
        return (200, {"results": [refused] * len(report["events"]), "commands": []}) if report["events"] else True

    async with held(tmp_path) as one:
        first = once(True)
        one.server.before = lambda report: refuse(report) if first(report) is True and not one.dead else True
        one.say("a")
        assert await one.lane.drained()
    assert [line["event"]["data"]["content"] for line in one.dead] == ["a"]


def strangely(results: list[dict[str, Any]], times: int) -> Any:
    """Answers the event `a` so many times with these results instead of its own."""
    left = [results] * times

    def misbehave(report: dict[str, Any]) -> Any:
        is_there = any(event["data"].get("content") == "a" for event in report["events"])
        return (200, {"results": left.pop(), "commands": []}) if left and is_there else True

    return misbehave


@pytest.mark.parametrize("results", [[{"status": "queued"}], [{}], []], ids=["queued", "no status", "no result"])
async def test_an_unknown_status_is_no_acknowledgement(tmp_path, results) -> None:
    async with held(tmp_path) as one:
        one.server.before = strangely(results, STRANGE_TRIES)
        one.say("a")
        assert await one.lane.drained()
        sent = [event for report in one.server.reports for event in report["events"] if event["type"] != "other"]
        assert len(sent) == STRANGE_TRIES
        [notice] = [event["data"] for event in one.server.kept.values() if event["type"] == "other"]
        assert (notice["payload"]["from_seq"], notice["payload"]["to_seq"]) == (1, 1)
    [line] = one.dead
    assert line["event"]["data"]["content"] == "a"
    assert "which says neither that it is stored nor that it is not" in line["reason"]


async def test_a_status_that_is_unknown_for_a_moment_costs_nothing(tmp_path) -> None:
    async with held(tmp_path) as one:
        one.server.before = strangely([{"status": "busy"}], STRANGE_TRIES - 1)
        one.say("a")
        assert await one.lane.drained()
        assert one.arrived == ["a"]
    assert one.dead == []


@pytest.mark.parametrize("status", [409, 404])
async def test_a_lost_lease_ends_all_reporting_at_once(tmp_path, status) -> None:
    async with held(tmp_path) as one:
        one.server.before = lambda report: (status, {"code": "lease_lost"}) if report["events"] else True
        one.say("a")
        await asyncio.wait_for(one.lane.lost.wait(), 60)
        seen = len(one.server.reports)
        one.say("b")
        assert not await one.lane.drained()
    assert len(one.server.reports) == seen
    assert [line["event"]["data"]["content"] for line in one.dead] == ["a"]
    assert one.dead[0]["reason"] == "lease_lost"


async def test_a_server_that_says_nothing_costs_the_lease_before_it_ends(tmp_path) -> None:
    now = Now()
    async with held(tmp_path, SHORT_S, now) as one:
        one.server.silent = True
        one.say("a")
        now.seconds += 0.9 * SHORT_S
        await asyncio.wait_for(one.lane.lost.wait(), 60)
    assert [line["reason"] for line in one.dead] == ["the lease expired"]


async def test_a_short_lease_lives_as_long_as_the_server_answers(tmp_path) -> None:
    now = Now()
    async with held(tmp_path, SHORT_S, now) as one:
        for _ in range(4):
            now.seconds += 0.7 * SHORT_S
            await wait_until_async(lambda: one.clock.left_s > 0.7 * SHORT_S, "a renewal")
        assert not one.lane.lost.is_set()


async def test_a_command_comes_at_once_and_repetitions_hurry_nobody(tmp_path) -> None:
    async with held(tmp_path) as one:
        await wait_until_async(lambda: one.server.reports, "the long poll")
        begun = asyncio.get_running_loop().time()
        one.server.command({"command_id": 4, "type": "pause"})
        await wait_until_async(lambda: one.commands, "the command")
        assert one.heard_after[0] == 1, "by the reply to the report that waited"
        # It is repeated by each reply, and nobody asks in a hurry because of it.
        await wait_until_async(lambda: asyncio.get_running_loop().time() - begun > 1.5, "some replies")
        passed_s = asyncio.get_running_loop().time() - begun
        assert len(one.server.reports) <= 3 + passed_s / REPEAT_PAUSE_S
        one.server.command({"command_id": 5, "type": "resume"})
        await wait_until_async(lambda: one.commands[-1]["command_id"] == 5, "the next one")
    assert [*dict.fromkeys(command["command_id"] for command in one.commands)] == [4, 5]


async def test_a_claim_is_confirmed_or_not_ours(tmp_path) -> None:
    async with LaneServer().running() as server:
        one = Held(server, tmp_path, LONG_S)
        assert await one.lane.confirm()
        server.before = lambda report: (409, {"code": "lease_lost"})
        other = Held(server, tmp_path, LONG_S)
        assert not await other.lane.confirm()
        for each in (one, other):
            await each.http.close()


async def test_what_is_left_when_the_lane_is_let_go_is_kept(tmp_path) -> None:
    async with held(tmp_path) as one:
        one.server.silent = True
        one.say("a")
    assert [line["reason"] for line in one.dead] == ["not delivered"]


async def test_a_checkpoint_whose_base_is_unknown_is_sent_again_whole(tmp_path) -> None:
    large = "x" * 100_000

    def refuse(report: dict[str, Any]) -> Any:
        results = [
            {"event_id": event["event_id"], "status": "refused", "code": "unknown_base", "message": "no"}
            if "base" in event["data"]
            else {"event_id": event["event_id"], "status": "stored"}
            for event in report["events"]
        ]
        return (200, {"results": results, "commands": []}) if report["events"] else True

    async with held(tmp_path) as one:
        one.lane.outbox.resumes([large])
        one.server.after = refuse
        one.lane.outbox.put({"type": "checkpoint", "data": {"step_index": 2, "history": [large, "new"]}})
        assert await one.lane.drained()
        sent = [event for report in one.server.reports for event in report["events"]]
        assert [event["data"]["history"] for event in sent] == [["new"], [large, "new"]]
        assert sent[0]["event_id"] == sent[1]["event_id"]
        assert one.lane.refused == set()
        assert one.dead == []


async def test_commands_that_come_before_anybody_takes_them_are_handed_on(tmp_path) -> None:
    """The claim's own: a cancel or an answer that was there before the agent."""
    async with LaneServer().running() as server:
        one = Held(server, tmp_path, LONG_S)
        for number in (1, 2):
            server.command({"command_id": number, "type": "input", "content": "yes"})
        assert await one.lane.confirm()
        assert await one.lane.confirm()
        assert one.commands == []
        async with one.lane.held(one.commands.append):
            assert [command["command_id"] for command in one.commands] == [1, 2]
        await one.http.close()


async def test_a_report_after_one_that_failed_is_answered_at_once(tmp_path) -> None:
    """The reply that was lost may have carried a command: the server holds the next one back for a newer."""
    async with LaneServer().running() as server:
        one = Held(server, tmp_path, LONG_S)
        failures: list[Any] = [(502, {})]
        server.before = lambda _report: failures.pop() if failures else True
        async with one.lane.held(one.commands.append):
            await wait_until_async(lambda: len(server.reports) >= 3, "the reports after the failure")
        assert [report["wait_seconds"] > 0 for report in server.reports[:3]] == [True, False, True]
        await one.http.close()
