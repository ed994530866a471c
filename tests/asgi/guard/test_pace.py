"""The pace: so much is begun in one turn of the event loop and no more, in the order in which it came."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from tests.asgi.http1.hand import Taking, get, linked, post
from towerlog.asgi.guard.pace import BODY_PART_BYTES, MAX_BEGUN

COUNT = MAX_BEGUN * 5 // 2


@pytest.mark.parametrize("kind", ["taken", "by a task", "with a body"])
def test_what_comes_at_once_is_begun_in_turns(kind: str) -> None:
    path, weight = "/task" if kind == "by a task" else "/do", 4 if kind == "with a body" else 1

    async def run() -> None:
        app = Taking(100_000_000, connections=10_000)
        links = [linked(app)[0] for _ in range(COUNT)]
        for number, link in enumerate(links):
            name = f"{path}?{number}"
            link.data_received(post(name, b"y" * BODY_PART_BYTES * 3) if weight > 1 else get(name))
        begun = [len(app.scopes)]
        while len(app.scopes) < COUNT:
            await asyncio.sleep(0)
            begun.append(len(app.scopes))
        steps = [after - before for before, after in zip([0, *begun], begun, strict=False)]
        assert max(steps) == steps[0] == -(-MAX_BEGUN // weight)
        assert [int(scope["query_string"]) for scope in app.scopes] == list(range(COUNT))
        for link in links:
            link.connection_lost(None)
        await asyncio.sleep(0)
        assert app.ledger.process.is_idle

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(run(), 60))


def test_who_hangs_up_in_the_line_is_not_served() -> None:
    async def run() -> None:
        app = Taking(100_000_000, connections=10_000)
        links = [linked(app)[0] for _ in range(COUNT)]
        for link in links:
            link.data_received(get("/do"))
        for link in links[MAX_BEGUN:]:
            link.connection_lost(None)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(app.done) == MAX_BEGUN
        for link in links[:MAX_BEGUN]:
            link.connection_lost(None)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(run(), 60))
