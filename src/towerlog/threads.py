"""Threads that are there before there is work for them: at the limit of processes none can be started any more."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

ASIDE_THREADS = 8
"""Of a server, for work that would hold up its event loop."""


def started_threads(count: int, name: str) -> ThreadPoolExecutor:
    """A pool all of whose threads have been started. Raises RuntimeError where the system allows no more."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    may_end = threading.Event()
    try:
        for _ in range(count):
            # Each waits, so that the pool has none to spare and starts another for the next.
            pool.submit(may_end.wait)
    except RuntimeError:
        may_end.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    may_end.set()
    return pool
