"""The asyncio client against a real server, and against one that fails on order. What both clients share is tested
with the other one; here is what differs: waiting, paging and following.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.sdk.served import reported, run_id_of, told, unique
from tests.sdk.talker import headers_of, reply, talking
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import DEADLINE_S, wait_until_async
from towerlog.sdk.api.async_client import AsyncClient
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import Gap, RunEvent
from towerlog.sdk.wire.errors import ApiError, Unreachable
from towerlog.sdk.wire.retries import Retries

EAGER = Retries(attempts=4, first_s=0.001, longest_s=0.001)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


async def test_a_run_is_queued_listed_followed_and_ended(server) -> None:
    async with AsyncClient(server.base_url, ADMIN_KEY) as client:
        thread = unique("thread")
        made = [(await client.create_run(thread, input="go")).run_id for _ in range(3)]
        for size in (1, 2, 200):
            assert [run.run_id async for run in client.list_runs(size, thread_id=thread)] == made[::-1]
            assert [run.run_id async for run in client.list_run_rows(size, thread_id=thread)] == made[::-1]
        await client.cancel_run(made[0])
        assert (await client.get_run(made[0])).status == "cancelled"
        types = [event.type async for event in client.follow(made[0]) if isinstance(event, RunEvent)]
        assert types == ["run.queued", "run.cancelled"]
        assert [event.type async for event in client.list_events(made[0])] == types
        with pytest.raises(ApiError) as caught:
            await client.give_input(made[0], "late")
        assert caught.value.status == 409


async def test_it_reads_what_the_blocking_one_reads(server) -> None:
    run_id = run_id_of(server, reported(server))
    with Client(server.base_url, ADMIN_KEY) as plain:
        async with AsyncClient(server.base_url, ADMIN_KEY) as client:
            assert await client.get_run(run_id) == plain.get_run(run_id)
            assert await client.whoami() == plain.whoami()
            assert [one async for one in client.list_threads()] == list(plain.list_threads())
            assert [one async for one in client.list_agents()] == list(plain.list_agents())
            assert [one async for one in client.list_keys()] == list(plain.list_keys())
            assert await client.get_queue() == plain.get_queue()
            assert [one async for one in client.list_approvals()] == list(plain.list_approvals())


async def test_a_follower_survives_the_servers_death_without_a_gap(tmp_path) -> None:
    server = Server(tmp_path / "data", NO_LIMITS)
    try:
        server.start()
        name = unique("told")
        told(server, "run_start", name)
        run_id = run_id_of(server, name)
        got: list[RunEvent | Gap] = []
        async with AsyncClient(server.base_url, ADMIN_KEY) as client:

            async def read() -> None:
                async for event in client.follow(run_id):
                    got.append(event)  # noqa: PERF401 - what has come so far is looked at

            reading = asyncio.create_task(read())
            await wait_until_async(lambda: got, "the first event")
            server.kill()
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(told, server, "step", name)
            await asyncio.to_thread(told, server, "run_end", name)
            await asyncio.wait_for(reading, 60)
        assert [event.raw["seq"] for event in got] == [1, 2, 3]
    finally:
        server.close()


async def test_a_follower_that_is_cancelled_is_gone_at_once(server) -> None:
    async with AsyncClient(server.base_url, ADMIN_KEY) as client:
        run_id = (await client.create_run(unique("thread"))).run_id
        stream = client.follow(run_id)
        first = await anext(stream)
        assert first.raw["seq"] == 1
        waiting = asyncio.ensure_future(anext(stream))
        await wait_until_async(lambda: not waiting.done(), "the follower to wait")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_a_change_is_repeated_with_its_key_until_it_is_answered() -> None:
    good = reply(201, b'{"run_id":"r","trace_id":"t"}')
    with talking(None, reply(503, b"{}"), reply(429, b"{}", {"Retry-After": "0"}), good) as talker:
        async with AsyncClient(talker.url, retries=EAGER) as client:
            assert (await client.create_run("t")).run_id == "r"
        keys = [headers_of(head)["idempotency-key"] for head, _ in talker.requests]
        assert len(keys) == 4
        assert len(set(keys)) == 1


async def test_it_is_given_up_in_the_end() -> None:
    with talking(*[reply(503, b"{}")] * 9) as talker:
        async with AsyncClient(talker.url, retries=EAGER) as client:
            with pytest.raises(ApiError):
                await client.whoami()
        assert len(talker.requests) == 4


async def test_closing_a_client_ends_its_follower(server) -> None:
    client = AsyncClient(server.base_url, ADMIN_KEY)
    run_id = (await client.create_run(unique("thread"))).run_id
    got: list[RunEvent | Gap] = []

    async def read() -> None:
        async for event in client.follow(run_id):
            got.append(event)  # noqa: PERF401 - what has come so far is looked at

    reading = asyncio.create_task(read())
    await wait_until_async(lambda: got, "the first event")
    await client.close()
    await asyncio.wait_for(reading, DEADLINE_S)
    assert [event.raw["seq"] for event in got] == [1]


async def test_closing_a_client_ends_its_pause_between_two_tries() -> None:
    with talking(reply(503, b"{}")) as talker:
        client = AsyncClient(talker.url, "k", retries=Retries(first_s=600.0, longest_s=600.0))
        asking = asyncio.create_task(client.whoami())
        await wait_until_async(lambda: talker.requests, "the request")
        await client.close()
        with pytest.raises((ApiError, Unreachable)):
            await asyncio.wait_for(asking, DEADLINE_S)
