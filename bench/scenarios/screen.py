"""Ack to screen: how long after its ack an event is on a follower's screen, at 1,000 events a second into its run.

A frame that is there before the ack counts as 0.
"""

import asyncio

import uvloop

from bench import servers
from bench.context import Context
from bench.figures import Row, percentile
from bench.live import open_run
from bench.pace import send_and_follow
from bench.wire import Client

NAME = "screen"
EVENTS_PER_SECOND = 1_000
MAX_P99_MS = 50.0


def measure(context: Context) -> list[Row]:
    """Post at the rate, follow, compare the two times of each event."""
    count = int(EVENTS_PER_SECOND * context.effort.screen_seconds)
    with context.folder(NAME) as folder, servers.towerlog(folder / "data") as server:
        with Client(server.port, server.key) as client:
            run = open_run(client, server.key)
        work = send_and_follow(server.port, run.follow_request(), run.step, count, EVENTS_PER_SECOND)
        with (
            context.profiler.watching(server.process.pid, NAME),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as r,
        ):
            sender, follower = r.run(work)
        server.stop()
    lag = [(follower.seen_ns[n] - sender.acked_ns[n]) / 1e6 for n in range(count)]
    after_ack = [max(0.0, one) for one in lag]
    after_post = [(follower.seen_ns[n] - sender.sent_ns[n]) / 1e6 for n in range(count)]
    took = (max(sender.acked_ns.values()) - min(sender.sent_ns.values())) / 1e9
    detail = {
        "events": count,
        "events_per_second": round(count / took, 1),
        "before_the_ack_share": round(sum(one < 0 for one in lag) / count, 3),
        "lag_min_ms": min(lag),
        "lag_max_ms": max(lag),
    }
    return [
        Row(NAME, "ack to screen: p50", "ms", percentile(after_ack, 0.5), detail=detail),
        Row(NAME, "ack to screen: p99", "ms", percentile(after_ack, 0.99), threshold=MAX_P99_MS),
        Row(NAME, "post to screen: p99", "ms", percentile(after_post, 0.99)),
    ]
