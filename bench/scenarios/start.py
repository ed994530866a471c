"""Start: from the command to the first ready answer on an empty folder, and the memory of a server that rests."""

import time
from statistics import median

from bench import servers
from bench.context import Context
from bench.duel import OpenServer
from bench.figures import Row

NAME = "start"
MAX_READY_SECONDS = 1.0
MAX_RESIDENT_MB = 90.0


def starts(context: Context, open_server: OpenServer) -> tuple[float, float]:
    """Median seconds to ready, and median resident memory in MB after a rest, over some starts on empty folders."""
    ready, resident = [], []
    for _ in range(context.effort.starts):
        with context.folder(NAME) as folder, open_server(folder / "data") as server:
            time.sleep(context.effort.rest_seconds)
            ready.append(server.ready_seconds)
            resident.append(server.resident_kib() * 1024 / 1e6)
            server.stop()
    return median(ready), median(resident)


def measure(context: Context) -> list[Row]:
    """Both servers; the floor's figures say what the libraries cost by themselves."""
    floor_ready, floor_resident = starts(context, servers.floor)
    our_ready, our_resident = (None, None) if context.floor_only else starts(context, servers.towerlog)
    return [
        Row(NAME, "start to ready, empty store", "s", our_ready, floor_ready, threshold=MAX_READY_SECONDS),
        Row(NAME, "idle memory, empty store", "MB", our_resident, floor_resident, threshold=MAX_RESIDENT_MB),
    ]
