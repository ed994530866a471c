"""Money that is held for a run: by a real server, for one block, settled by its model call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import towerlog
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.sdk.api.client import Client
from towerlog.sdk.record.recorder import Recorder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("reserving") / "data", NO_LIMITS)
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.base_url, ADMIN_KEY) as asking:
        yield asking


@pytest.fixture
def recorder(server: Server, tmp_path: Path) -> Iterator[Recorder]:
    made = Recorder(server.base_url, ADMIN_KEY, spool_dir=tmp_path / "spool")
    yield made
    made.close()


def figures(client: Client, budget_id: str) -> tuple[float, float]:
    """What is spent and what is held."""
    found = client.get_budget(budget_id)
    return found.spent_usd, found.reserved_usd


def test_the_model_call_of_the_block_settles_what_it_holds(client: Client, recorder: Recorder) -> None:
    budget = client.create_budget("sync", {"agent": "saver"}, 1)
    with recorder.record_run(agent="saver") as run:
        with run.reserve(usd=0.4) as held:
            assert held.reservation_id is not None
            assert figures(client, budget.budget_id) == (0, 0.4)
            run.model_call("m", cost_usd=0.25)
            run.model_call("m", cost_usd=0.05)
        with pytest.raises(towerlog.BudgetExceeded) as refused, run.reserve(usd=0.9):
            raise AssertionError("nothing is held")
        run.model_call("m", cost_usd=0.1)
    assert refused.value.budget_id == budget.budget_id
    assert recorder.flush()
    assert figures(client, budget.budget_id) == (0.4, 0)


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError])
def test_a_block_that_raises_holds_nothing_any_more(
    client: Client, recorder: Recorder, error: type[BaseException]
) -> None:
    agent = f"failing-{error.__name__}"
    budget = client.create_budget(agent, {"agent": agent}, 1)
    with recorder.record_run(agent=agent) as run:
        for _ in range(6):
            with pytest.raises(error), run.reserve(usd=0.9):
                raise error
            assert recorder.flush()
            assert figures(client, budget.budget_id) == (0, 0)
        block = run.reserve(usd=0.9)
        with block:
            run.model_call("m", cost_usd=0.5)
            block.__exit__(error, error(), None)
        assert recorder.flush()
        assert figures(client, budget.budget_id) == (0.5, 0), "what was told of the call stays"
        run_id = run.run_id
    assert client.get_run(str(run_id)).total_cost_usd == 0.5


def test_blocks_of_tasks_and_threads_settle_their_own(client: Client, recorder: Recorder) -> None:
    budget = client.create_budget("async", {"agent": "many"}, 10)

    async def work() -> None:
        async with recorder.record_run(agent="many") as run:

            async def one(cost: float) -> None:
                async with run.reserve(usd=0.5):
                    await asyncio.sleep(0)
                    run.model_call("m", cost_usd=cost)

            await asyncio.gather(*(one(0.125) for _ in range(4)))

    asyncio.run(work())
    with recorder.record_run(agent="many") as run:

        def spend() -> None:
            with run.reserve(usd=0.5):
                run.model_call("m", cost_usd=0.25)

        threads = [threading.Thread(target=spend) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert recorder.flush()
    assert figures(client, budget.budget_id) == (1.5, 0)


def test_eight_spenders_who_reserve_first_never_go_over(client: Client, recorder: Recorder) -> None:
    budget = client.create_budget("tight", {"agent": "tight"}, 1)
    granted: list[int] = []

    def spend(number: int) -> None:
        with recorder.record_run(agent="tight") as run:
            for _ in range(5):
                try:
                    with run.reserve(usd=0.06):
                        run.model_call("m", cost_usd=0.06)
                except towerlog.BudgetExceeded:
                    return
                granted.append(number)

    threads = [threading.Thread(target=spend, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.flush()
    spent, held = figures(client, budget.budget_id)
    assert (spent, held) == (pytest.approx(0.06 * len(granted)), 0)
    assert spent <= 1
    assert len(granted) == 16


def test_without_a_server_nothing_is_held(tmp_path: Path) -> None:
    recorder = Recorder("http://127.0.0.1:9", ADMIN_KEY, spool_dir=tmp_path)
    try:
        with recorder.record_run(run_key="alone") as run:
            run.run_id = "018bcfe5-6805-7eef-bf7b-118e820865d6"
            with pytest.raises(towerlog.Unreachable), run.reserve(usd=1):
                raise AssertionError("nothing is held")
    finally:
        recorder.close(0.0)
