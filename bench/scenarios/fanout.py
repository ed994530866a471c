"""Fan-out: 1,000 followers of one run and 400 events a second posted into it; every frame must reach each."""

import asyncio

import uvloop

from bench import compiled, servers
from bench.context import Context
from bench.figures import Row
from bench.live import LiveRun, open_run
from bench.pace import PacedSender
from bench.wire import Client

NAME = "fanout"
EVENTS_PER_SECOND = 400
MAX_P99_MS = 100.0
# The followers listen this much longer than the sender sends.
LISTEN_LONGER_SECONDS = 4.0


def post_events(port: int, run: LiveRun, count: int) -> None:
    """Post them at the rate and wait for every ack."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(PacedSender(port, run.step).send(count, EVENTS_PER_SECOND))


def measure(context: Context) -> list[Row]:
    """Open the followers, post, count what came."""
    followers = context.effort.fanout_followers
    count = int(EVENTS_PER_SECOND * context.effort.fanout_seconds)
    listen_seconds = context.effort.fanout_seconds + LISTEN_LONGER_SECONDS
    with context.folder(NAME) as folder, servers.towerlog(folder / "data") as server:
        with Client(server.port, server.key) as client:
            run = open_run(client, server.key)
        with compiled.Fanout(server.port, run.path, followers, listen_seconds, run.follow_headers) as crowd:
            crowd.wait_ready()
            with context.profiler.watching(server.process.pid, NAME):
                post_events(server.port, run, count)
            found = crowd.result()
        server.stop()
    due = followers * count
    # More than due is as wrong as less, so the share is what came exactly once.
    delivered = 1 - abs(due - found["msgs"]) / due if found["max"] <= count else 0.0
    return [
        Row(
            NAME,
            f"{followers:,} followers: frames delivered",
            "share",
            delivered,
            bound="at least",
            threshold=1.0,
            detail={"due": due, **found},
        ),
        Row(NAME, f"{followers:,} followers: lag p50", "ms", found["lag_p50_us"] / 1000),
        Row(NAME, f"{followers:,} followers: lag p99", "ms", found["lag_p99_us"] / 1000, threshold=MAX_P99_MS),
    ]
