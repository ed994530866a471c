"""What a running server says of itself: blocks of its event loop, and the memory that its process holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.server import Server

MIB = 2**20


def metric(server: Server, name: str) -> float:
    """One figure of `/metrics` without labels."""
    # A connection for each look would soon be as many as one address may have.
    with server.client() as client:
        text = client.get("/metrics").text
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"no {name} in /metrics"
    return float(found[1])


def max_block_ms() -> float:
    """The longest block of a loop that may be. Beside other tests the same work takes a core up to twice the time.

    Asked when it is needed: the processes of a run may be forked from one that has imported this, and was none of them.
    """
    return 100.0 if "PYTEST_XDIST_WORKER" in os.environ else 50.0


@contextmanager
def no_block(server: Server, what: str) -> Iterator[None]:
    """Fails where anything that is done inside blocks the server's event loop for longer than it may.

    The server measures itself (`asgi/process/loop_watch.py`): time in which a busy machine gave it no processor does
    not count, time in which one of its threads kept the interpreter from the loop does.
    """
    before = metric(server, "towerlog_loop_blocks_total")
    yield
    after = metric(server, "towerlog_loop_blocks_total")
    longest_ms = 1000 * metric(server, "towerlog_loop_longest_block_seconds")
    is_long = after > before and longest_ms > max_block_ms()
    assert not is_long, f"{what}: {after - before:.0f} blocks of the loop, the longest so far {longest_ms:.0f} ms"
