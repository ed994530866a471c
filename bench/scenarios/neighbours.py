"""Neighbours: what a well-behaved organisation notices while hostile callers do all they can to the same server.

It posts at a steady rate, follows what it posts, and renews leases; each event must be seen exactly once and no lease
may be lost. The hostile callers are `bench/floods.py`, a process of its own.
"""

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import servers
from bench.compiled import BENCH_DIR
from bench.context import Context
from bench.figures import Row, percentile
from bench.live import open_run
from bench.pace import send_and_follow
from bench.servers import Server
from bench.wire import Client
from bench.workers import Worker, connections, create, run_loop

NAME = "neighbours"
EVENTS_PER_SECOND = 50
LEASES = 4
RENEW_SECONDS = 2.0
LOOK_SECONDS = 0.25
CALM_SECONDS = 5.0
MAX_P99_MS = 250.0
MAX_RSS_MIB = 400.0


@dataclass
class Seen:
    """What the well-behaved organisation has noticed."""

    posted_ms: list[float] = field(default_factory=list)
    followed_ms: list[float] = field(default_factory=list)
    renewed: int = 0
    rss_mib: float = 0.0
    attempts: dict[str, int] = field(default_factory=dict)


def hostile_key(server: Server) -> str:
    """The key of an organisation of the hostile callers' own."""
    command = [str(servers.towerlog_program()), "orgs", "create", "hostile-" + secrets.token_hex(4)]
    done = subprocess.run(
        [*command, "--data-dir", str(server.data_dir), "--json"],
        env=servers.clean_environment(),
        capture_output=True,
        check=True,
    )
    return str(json.loads(done.stdout)["key"])


async def renew(server: Server, seen: Seen) -> None:
    """Holds leases until it is cancelled. Raises Refused when one is lost."""
    async with connections(server, LEASES) as opened:
        workers = [Worker(connection, number) for number, connection in enumerate(opened)]
        for number, worker in enumerate(workers):
            await create(worker.connection, f"held-{secrets.token_hex(4)}-{number}")
        held = [(worker, await worker.claim(0)) for worker in workers]
        turn = 1
        while True:
            for worker, claimed in held:
                await worker.report(claimed, turn, ("message.delta", {"content": "here "}))
                seen.renewed += 1
            turn += 1
            await asyncio.sleep(RENEW_SECONDS)


async def watch_memory(server: Server, seen: Seen) -> None:
    """Notes the most that the server holds, until it is cancelled."""
    while True:
        seen.rss_mib = max(seen.rss_mib, server.resident_kib() / 1024)
        await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def flooded(server: Server, key: str, seconds: float, seen: Seen) -> AsyncIterator[None]:
    """The hostile callers at work; ended at the end."""
    command = [sys.executable, str(BENCH_DIR / "floods.py"), str(server.port), key, str(seconds)]
    floods = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        yield
        told, _ = await floods.communicate()
        seen.attempts = json.loads(told)
    finally:
        with suppress(ProcessLookupError):
            floods.kill()
        await floods.wait()


async def live_beside(server: Server, run: Any, seconds: float, hostile: str | None) -> Seen:
    """One organisation's life for a while, beside hostile callers or alone."""
    seen = Seen()
    others = [asyncio.create_task(renew(server, seen)), asyncio.create_task(watch_memory(server, seen))]
    count = int(EVENTS_PER_SECOND * seconds)
    posting = asyncio.create_task(_post(server, run, count, seen))
    try:
        if hostile is None:
            await _first_of(posting, *others)
        else:
            async with flooded(server, hostile, seconds, seen):
                await _first_of(posting, *others)
    finally:
        for task in (posting, *others):
            task.cancel()
        await asyncio.gather(posting, *others, return_exceptions=True)
    return seen


async def _first_of(*tasks: "asyncio.Task[None]") -> None:
    """Waits for the first that ends, which must be without an error."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        await task


async def _post(server: Server, run: Any, count: int, seen: Seen) -> None:
    sender, follower = await send_and_follow(server.port, run.follow_request(), run.step, count, EVENTS_PER_SECOND)
    seen.posted_ms = [(sender.acked_ns[n] - sender.sent_ns[n]) / 1e6 for n in range(count)]
    seen.followed_ms = [(follower.seen_ns[n] - sender.sent_ns[n]) / 1e6 for n in range(count)]


def live(folder: Path, seconds: float) -> tuple[Seen, Seen]:
    """Alone for a short while, then beside the hostile callers for `seconds`, on one server."""
    with servers.towerlog(folder / "data") as server:
        with Client(server.port, server.key) as client:
            calm_run, run = open_run(client, server.key, "calm"), open_run(client, server.key, "beside")
        calm = run_loop(live_beside(server, calm_run, min(CALM_SECONDS, seconds), None))
        seen = run_loop(live_beside(server, run, seconds, hostile_key(server)))
        server.stop()
    return calm, seen


def measure(context: Context) -> list[Row]:
    """A row each for what was posted, what was followed, and the server's memory."""
    seconds = context.effort.neighbours_seconds
    with context.folder(NAME) as folder:
        calm, seen = live(folder, seconds)
    detail = {"seconds": seconds, "attempts": seen.attempts, "renewed": seen.renewed}
    alone = percentile(calm.posted_ms, 0.99)
    return [
        Row(NAME, "alone: post p99", "ms", alone),
        Row(
            NAME,
            "beside hostile callers: post p99",
            "ms",
            percentile(seen.posted_ms, 0.99),
            threshold=MAX_P99_MS,
            detail=detail,
        ),
        Row(NAME, "beside hostile callers: post to screen p99", "ms", percentile(seen.followed_ms, 0.99)),
        Row(NAME, "beside hostile callers: memory", "MiB", seen.rss_mib, threshold=MAX_RSS_MIB),
    ]
