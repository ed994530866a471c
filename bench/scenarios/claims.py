"""Claims: how many runs a second 32 workers get out of a full queue, and how soon a waiting worker has a new run."""

import asyncio
import time
from statistics import median

from bench import servers
from bench.context import Context
from bench.figures import Row, percentile
from bench.servers import Server
from bench.wire import Refused
from bench.workers import Worker, connections, create, run_loop

NAME = "claims"
WORKERS = 32
MAX_CREATED_TO_CLAIMED_P99_MS = 100.0
WAIT_SECONDS = 20
# Between a claim and the next run: time for the worker's next request to be there and to wait.
BETWEEN_SECONDS = 0.01


async def fill(server: Server, count: int) -> set[str]:
    """So many queued runs; their ids."""
    numbers = iter(range(count))
    made: set[str] = set()
    async with connections(server, WORKERS) as crowd:

        async def make(number: int) -> None:
            for thread in numbers:
                made.add(await create(crowd[number], f"queued-{thread}"))

        await asyncio.gather(*map(make, range(WORKERS)))
    return made


async def empty(server: Server) -> tuple[list[str], float]:
    """Lets all workers claim until nothing is left; what they got, and the seconds it took."""
    claimed: list[str] = []
    async with connections(server, WORKERS) as crowd:

        async def poll(worker: Worker) -> None:
            while (found := await worker.claim(0)) is not None:
                claimed.append(found["run"]["id"])

        started = time.perf_counter()
        await asyncio.gather(*(poll(Worker(one, number)) for number, one in enumerate(crowd)))
        return claimed, time.perf_counter() - started


async def rate(server: Server, count: int) -> float:
    """Claims a second. Raises Refused unless each run was claimed, and once."""
    made = await fill(server, count)
    claimed, seconds = await empty(server)
    if len(claimed) != count or set(claimed) != made:
        raise Refused(f"{count} runs were queued; {len(claimed)} claims were granted, of {len(set(claimed))} runs")
    return count / seconds


async def delays(server: Server, count: int) -> list[float]:
    """For each of so many runs, the ms from asking for it to the reply that hands it to the worker that waits."""
    taken = []
    async with connections(server, 2) as (asking, serving):
        worker = Worker(serving, 0)
        for number in range(count):
            claim = asyncio.create_task(worker.claim(WAIT_SECONDS))
            await asyncio.sleep(BETWEEN_SECONDS)
            started = time.perf_counter()
            made = await create(asking, f"awaited-{number}")
            claimed = await claim
            taken.append((time.perf_counter() - started) * 1000)
            if claimed is None or claimed["run"]["id"] != made:
                raise Refused(f"the waiting worker did not get the run {made}, but {claimed}")
    return taken


def measure(context: Context) -> list[Row]:
    """Rounds of the full queue, each on a fresh store; then the waiting worker on one of its own."""
    rates = []
    for _ in range(context.effort.rounds):
        with context.folder(NAME) as folder, servers.towerlog(folder / "data") as server:
            with context.profiler.watching(server.process.pid, NAME):
                rates.append(run_loop(rate(server, context.effort.queued_runs)))
            server.stop()
    with context.folder(NAME) as folder, servers.towerlog(folder / "data") as server:
        delay_ms = run_loop(delays(server, context.effort.reads))
        server.stop()
    return rows_of(rates, delay_ms)


def rows_of(rates: list[float], delay_ms: list[float]) -> list[Row]:
    """The figures."""
    name = "create to claimed, one waiting worker"
    detail = {"created": len(delay_ms), "max_ms": max(delay_ms)}
    return [
        Row(NAME, f"claims, {WORKERS} workers", "claims/s", median(rates), detail={"rounds": rates}),
        Row(NAME, f"{name}: p50", "ms", percentile(delay_ms, 0.5), detail=detail),
        Row(NAME, f"{name}: p99", "ms", percentile(delay_ms, 0.99), threshold=MAX_CREATED_TO_CLAIMED_P99_MS),
    ]
