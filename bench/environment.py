"""The machine of a run: owns the facts that a figure means nothing without."""

import os
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

import apsw

FSYNC_TRIES = 50
FSYNC_BYTES = 4096


def cpu_model() -> str:
    """The processor's name, as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_gib() -> int:
    """Memory of the machine, rounded."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def fsync_ms(folder: Path) -> float:
    """Median time to append and fsync 4 KiB where the stores will be."""
    path = folder / "fsync.probe"
    times = []
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(FSYNC_TRIES):
            started = time.perf_counter()
            os.write(handle, b"\0" * FSYNC_BYTES)
            os.fsync(handle)
            times.append((time.perf_counter() - started) * 1000)
    finally:
        os.close(handle)
        path.unlink()
    return median(times)


def describe(folder: Path) -> dict[str, Any]:
    """All of it, for results.json."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_model(),
        "memory_gib": memory_gib(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "fsync_ms": round(fsync_ms(folder), 3),
    }
