"""Idle followers: what ten thousand connections that only wait add to the server's resident memory."""

import resource
import time

from bench import compiled, servers
from bench.context import Context
from bench.figures import Row
from bench.live import open_run
from bench.wire import Client

NAME = "idle"
MAX_KIB_PER_FOLLOWER = 25.0
# Descriptors that the server and the tool need besides the followers.
DESCRIPTORS_KEPT = 200
LISTEN_SECONDS = 60.0
FIRST_LOOK_SECONDS = 2.0


def affordable(wanted: int) -> int:
    """As many followers as the limit on open files allows; the limit has been raised as far as it goes.

    They have one key, which may have half of the connections that the server has files for.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, (soft - DESCRIPTORS_KEPT) // 2)


def measure(context: Context) -> list[Row]:
    """Memory before, with all connected, and after they have been idle for a while; the larger growth counts."""
    followers = affordable(context.effort.idle_followers)
    with context.folder(NAME) as folder, servers.towerlog(folder / "data") as server:
        with Client(server.port, server.key) as client:
            run = open_run(client, server.key)
        before = server.resident_kib()
        with compiled.Fanout(server.port, run.path, followers, LISTEN_SECONDS, run.follow_headers) as crowd:
            connect_seconds = crowd.wait_ready()
            time.sleep(FIRST_LOOK_SECONDS)
            connected = server.resident_kib()
            time.sleep(context.effort.idle_settle_seconds)
            settled = server.resident_kib()
        server.stop()
    growth = (max(connected, settled) - before) / followers
    detail = {
        "followers": followers,
        "connect_seconds": connect_seconds,
        "before_kib": before,
        "connected_kib": connected,
        "settled_kib": settled,
    }
    name = f"{followers:,} idle followers: memory of each"
    return [Row(NAME, name, "KiB", growth, threshold=MAX_KIB_PER_FOLLOWER, detail=detail)]
