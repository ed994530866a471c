"""Whole runs: asked for, claimed, three events, completed, and seen so by whoever reads the store afterwards."""

import asyncio
import time
from dataclasses import dataclass
from statistics import median

from bench import servers
from bench.context import Context
from bench.figures import Row, percentile
from bench.servers import Server
from bench.ways import all_rows
from bench.wire import Client, Refused
from bench.workers import Connection, Worker, connections, create, run_loop

NAME = "runs"
WORKERS = 16
WAIT_SECONDS = 5
EVENTS = (
    ("tool.call", {"tool": "search", "tool_call_id": "call-1", "arguments": {"q": "towers"}}),
    ("tool.result", {"tool": "search", "tool_call_id": "call-1", "result": {"found": 3}, "duration_ms": 12}),
    ("message.delta", {"content": "There are three of them."}),
)
END = ("run.completed", {"result": {"found": 3}})


@dataclass
class Tally:
    """What became of the runs of one round."""

    created: int = 0
    completed: int = 0
    seconds: float = 0.0
    took_ms: tuple[float, ...] = ()


async def carry_out(server: Server, seconds: float) -> Tally:
    """As many runs as can be, for so long: each worker has somebody beside it who asks for the next run."""
    tally, took_ms = Tally(), []
    asked_at: dict[str, float] = {}
    started = time.perf_counter()

    async def ask_and_work(asking: Connection, worker: Worker) -> None:
        while time.perf_counter() - started < seconds:
            tally.created += 1
            thread = f"whole-{tally.created}"
            asked_at[thread] = time.perf_counter()
            await create(asking, thread)
            # Any run will do: another's may be first in the queue.
            claimed = await worker.claim(WAIT_SECONDS)
            if claimed is None:
                raise Refused("a run was queued, and none could be claimed")
            await worker.report(claimed, 1, *EVENTS)
            await worker.report(claimed, 1 + len(EVENTS), END)
            tally.completed += 1
            took_ms.append((time.perf_counter() - asked_at[claimed["run"]["thread_id"]]) * 1000)

    async with connections(server, 2 * WORKERS) as crowd:
        pairs = zip(crowd[:WORKERS], crowd[WORKERS:], strict=True)
        await asyncio.gather(*(ask_and_work(asking, Worker(one, n)) for n, (asking, one) in enumerate(pairs)))
    tally.seconds = time.perf_counter() - started
    tally.took_ms = tuple(took_ms)
    return tally


def check(server: Server, tally: Tally) -> None:
    """Raises Refused unless the store has every run as completed, with all that was told of it."""
    with Client(server.port, server.key) as client:
        rows = all_rows(client, "/api/v1/runs")
        whole = [row for row in rows if row["status"] == "completed" and row["last_seq"] > len(EVENTS) + 1]
    if not len(whole) == len(rows) == tally.created == tally.completed:
        raise Refused(f"{tally.created} runs asked for, {tally.completed} completed, {len(whole)} seen of {len(rows)}")


def measure(context: Context) -> list[Row]:
    """Rounds, each on a fresh store."""
    rates: list[float] = []
    took_ms: list[float] = []
    cpu_ms: list[float] = []
    load_ms: list[float] = []
    for _ in range(context.effort.rounds):
        with context.folder(NAME) as folder, servers.towerlog(folder / "data") as server:
            cpu_before, load_before = server.cpu_seconds(), time.process_time()
            with context.profiler.watching(server.process.pid, NAME):
                tally = run_loop(carry_out(server, context.effort.round_seconds))
            cpu_ms.append((server.cpu_seconds() - cpu_before) / tally.completed * 1000)
            load_ms.append((time.process_time() - load_before) / tally.completed * 1000)
            check(server, tally)
            server.stop()
        rates.append(tally.completed / tally.seconds)
        took_ms += tally.took_ms
    name = f"whole runs, {WORKERS} workers"
    detail = {"rounds": rates, "cpu_ms_per_run": cpu_ms, "load_cpu_ms_per_run": load_ms}
    return [
        Row(NAME, name, "runs/s", median(rates), detail=detail),
        Row(NAME, f"{name}: asked for to completed, p99", "ms", percentile(took_ms, 0.99)),
    ]
