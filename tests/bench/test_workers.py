"""The load of the worker scenarios, on a real server: short, but all of it, and each check notices what it is for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import servers
from bench.context import QUICK, Context
from bench.profiler import Profiler
from bench.scenarios import claims, idle_workers, runs
from bench.servers import Server
from bench.wire import Refused
from bench.workers import AGENT, Worker, connections, create, run_loop

SHORT = replace(QUICK, rounds=1, round_seconds=0.3, queued_runs=40, reads=3, idle_workers=20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with servers.towerlog(tmp_path / "data") as running:
        yield running


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(SHORT, tmp_path, lambda line: None, Profiler(None))


def test_each_queued_run_is_claimed_once_and_a_waiting_worker_gets_the_next(context: Context) -> None:
    rate, p50, p99 = claims.measure(context)
    assert (rate.unit, rate.verdict) == ("claims/s", "info")
    assert (rate.towerlog or 0) > 0
    # The worker really waits: a claim that is found by asking again would be seconds late.
    assert 0 < (p50.towerlog or 0) <= (p99.towerlog or 0) < claims.WAIT_SECONDS * 1000 / 4
    assert (p99.threshold, p99.bound, p50.detail["created"]) == (100.0, "at most", 3)


def test_a_claim_that_is_missing_is_no_rate(server: Server) -> None:
    run_loop(claim_one_of_two(server))
    claimed, _ = run_loop(claims.empty(server))
    assert len(claimed) == 1
    with pytest.raises(Refused, match=r"5 runs were queued; 6 claims"):
        run_loop(with_a_stranger(server))


async def claim_one_of_two(server: Server) -> None:
    async with connections(server, 1) as (only,):
        for thread in ("one", "two"):
            await create(only, thread)
        assert await Worker(only, 99).claim(0) is not None


async def with_a_stranger(server: Server) -> float:
    """A run in the queue that the scenario has not made."""
    async with connections(server, 1) as (only,):
        await create(only, "stranger")
    return await claims.rate(server, 5)


def test_whole_runs_are_seen_completed_by_the_store(context: Context) -> None:
    rate, p99 = runs.measure(context)
    assert (rate.unit, rate.verdict, p99.unit) == ("runs/s", "info", "ms")
    assert (rate.towerlog or 0) > 0
    assert rate.detail["cpu_ms_per_run"][0] > 0
    assert rate.detail["load_cpu_ms_per_run"][0] > 0
    assert (p99.towerlog or 0) > 0


def test_a_run_that_the_store_has_not_completed_is_no_rate(server: Server) -> None:
    tally = run_loop(runs.carry_out(server, 0.1))
    runs.check(server, tally)
    run_loop(leave_one_open(server))
    tally.created += 1
    with pytest.raises(Refused, match="seen of"):
        runs.check(server, tally)
    tally.completed += 1
    with pytest.raises(Refused, match="seen of"):
        runs.check(server, tally)


async def leave_one_open(server: Server) -> None:
    async with connections(server, 1) as (only,):
        await create(only, "left-open")


def test_a_refusal_and_an_event_that_is_not_stored_are_told(server: Server) -> None:
    run_loop(refusals(server))


async def refusals(server: Server) -> None:
    async with connections(server, 1) as (only,):
        with pytest.raises(Refused, match="answered 422"):
            await only.post("/v1/threads/t/runs", {"agent": AGENT, "persona_id": "nobody@1"})
        await create(only, "once")
        worker = Worker(only, 0)
        claimed = await worker.claim(0)
        delta = ("message.delta", {"content": "x"})
        await worker.report(claimed, 1, delta)
        with pytest.raises(Refused, match="not all of a report"):
            await worker.report(claimed, 1, delta)


def test_idle_workers_of_other_agents_wait_through_the_whole_of_it(context: Context) -> None:
    [row] = idle_workers.measure(context)
    assert row.problem is None
    assert (row.unit, row.threshold, row.bound) == ("× without", 2.0, "at most")
    assert (row.towerlog or 0) > 0
    assert (row.detail["workers"], row.detail["runs"]) == (20, 40)


def test_a_worker_that_was_answered_does_not_count_as_idle(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_workers, "OTHER_AGENT", AGENT)
    with pytest.raises(Refused, match="workers were answered"):
        run_loop(idle_workers.costs(server, 5, 10))
