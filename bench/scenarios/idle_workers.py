"""Idle workers: what a new run costs the server while many workers of other agents wait for one of theirs."""

import asyncio
import time

from bench import servers
from bench.context import Context
from bench.figures import Row
from bench.scenarios.idle import affordable
from bench.servers import Server
from bench.wire import Refused
from bench.workers import Worker, connections, create, run_loop

NAME = "idle-workers"
MAX_COST_RATIO = 2.0
OTHER_AGENT = "another"
WAIT_SECONDS = 60
# Runs are asked for one after the other; so many, or for so long, whatever ends first.
MAX_RUNS = 1_000
MAX_ASKING_SECONDS = 15.0
SETTLED_SECONDS = 0.3
SETTLE_DEADLINE_SECONDS = 30.0
SETTLE_LOOK_SECONDS = 0.05


async def cost_ms(server: Server, label: str, count: int) -> float:
    """Processor time of the server for each of `count` new runs, in ms."""
    async with connections(server, 1) as (asking,):
        await create(asking, f"{label}-warm")
        before, started, made = server.cpu_seconds(), time.perf_counter(), 0
        while made < count and time.perf_counter() - started < MAX_ASKING_SECONDS:
            await create(asking, f"{label}-{made}")
            made += 1
        return (server.cpu_seconds() - before) / made * 1000


async def settled(server: Server) -> None:
    """Waits until the server has stopped working, so that all who wait are known to it."""
    deadline = time.perf_counter() + SETTLE_DEADLINE_SECONDS
    seen, quiet_since = server.cpu_seconds(), time.perf_counter()
    while time.perf_counter() - quiet_since < SETTLED_SECONDS:
        await asyncio.sleep(SETTLE_LOOK_SECONDS)
        now = server.cpu_seconds()
        # A tick is 10 ms: what a server does beside, once a second, is less.
        if now - seen > SETTLE_LOOK_SECONDS / 2:
            seen, quiet_since = now, time.perf_counter()
        if time.perf_counter() > deadline:
            raise Refused(f"the server was still busy {SETTLE_DEADLINE_SECONDS:.0f} s after the workers had come")


async def costs(server: Server, workers: int, count: int) -> tuple[float, float]:
    """The cost of a new run without idle workers, and beside them. Raises Refused when one of them was answered."""
    without = await cost_ms(server, "alone", count)
    async with connections(server, workers) as crowd:
        waiting = [
            asyncio.create_task(Worker(one, number, OTHER_AGENT).claim(WAIT_SECONDS))
            for number, one in enumerate(crowd)
        ]
        try:
            await settled(server)
            beside = await cost_ms(server, "beside", count)
            answered = sum(claim.done() for claim in waiting)
        finally:
            for claim in waiting:
                claim.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
    if answered:
        raise Refused(f"{answered} of {workers} workers were answered, and no run was theirs")
    return without, beside


def measure(context: Context) -> list[Row]:
    """Both costs on one store, in this order."""
    workers = affordable(context.effort.idle_workers)
    count = min(MAX_RUNS, context.effort.queued_runs)
    with context.folder(NAME) as folder, servers.towerlog(folder / "data") as server:
        with context.profiler.watching(server.process.pid, NAME):
            without, beside = run_loop(costs(server, workers, count))
        server.stop()
    name = f"a new run beside {workers:,} idle workers of other agents: processor time"
    detail = {"workers": workers, "runs": count, "without_ms": without, "beside_ms": beside}
    return [Row(NAME, name, "× without", beside / without, threshold=MAX_COST_RATIO, detail=detail)]
