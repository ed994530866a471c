"""The compiled tools: owns building loadgen and fanout from their C sources and reading their one line of JSON."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCH_DIR = Path(__file__).resolve().parent
BUILD_DIR = BENCH_DIR / "build"
HOST = "127.0.0.1"
# loadgen waits up to 10 s for what is in flight; this is above it.
LOADGEN_GRACE_SECONDS = 30


class ToolFailed(RuntimeError):
    """A compiled tool could not be built, or ended without its result."""


def compiler() -> str:
    """The C compiler to use: $CC, else cc or gcc."""
    for name in (os.environ.get("CC"), "cc", "gcc"):
        found = name and shutil.which(name)
        if found:
            return found
    raise ToolFailed("the bench needs a C compiler for its load generator; install gcc or name one in CC")


def built(name: str) -> Path:
    """The program `name`, compiled when it is missing or older than its source."""
    source, program = BENCH_DIR / f"{name}.c", BUILD_DIR / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILD_DIR.mkdir(exist_ok=True)
        fresh = BUILD_DIR / f"{name}.{os.getpid()}"
        done = subprocess.run([compiler(), "-O2", "-o", str(fresh), str(source)], capture_output=True, text=True)
        if done.returncode:
            raise ToolFailed(f"compiling {source.name} failed: {done.stderr.strip()}")
        fresh.replace(program)
    return program


@dataclass(frozen=True)
class Load:
    """What loadgen measured; latencies in milliseconds, rates per second."""

    requests: int
    seconds: float
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    client_cpu_seconds: float


def parse_load(line: str) -> Load:
    """Read loadgen's result. Any reply that was no success makes the round void: ToolFailed."""
    found: dict[str, Any] = json.loads(line)
    bad = found["s3xx"] + found["s4xx"] + found["s5xx"] + found["errors"]
    if bad or not found["s2xx"]:
        counts = {name: found[name] for name in ("s2xx", "s3xx", "s4xx", "s5xx", "errors")}
        raise ToolFailed(f"not every request succeeded: {counts}; first: {found['first_err'][:300]}")
    return Load(
        requests=found["reqs"],
        seconds=found["secs"],
        requests_per_second=found["rps"],
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        client_cpu_seconds=found["client_cpu"],
    )


def load(port: int, corpus: Path, connections: int, seconds: float, loop: bool = False, max_requests: int = 0) -> Load:
    """Drive a server with a corpus for some seconds, or until the corpus has been sent."""
    command = [str(built("loadgen")), HOST, str(port), str(corpus), str(connections), str(seconds), str(max_requests)]
    if loop:
        command.append("--loop")
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + LOADGEN_GRACE_SECONDS)
    if done.returncode:
        raise ToolFailed(f"loadgen ended with {done.returncode}: {done.stderr.strip()}")
    return parse_load(done.stdout)


class Fanout:
    """Many followers of one stream, in a process of their own; use as a context manager."""

    def __init__(self, port: int, path: str, followers: int, seconds: float, headers: list[str]) -> None:
        command = [str(built("fanout")), "sse", HOST, str(port), path, str(followers), str(seconds), *headers]
        self.seconds = seconds
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> "Fanout":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def wait_ready(self) -> float:
        """Block until all followers are connected; the seconds that took. The tool gives up by itself after 60."""
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        if not line.startswith("READY"):
            raise ToolFailed(f"followers could not connect: {line.strip()}")
        return float(line.split()[-1])

    def result(self) -> dict[str, Any]:
        """What arrived, after the followers' time is over."""
        out, err = self.process.communicate(timeout=self.seconds + LOADGEN_GRACE_SECONDS)
        if self.process.returncode:
            raise ToolFailed(f"fanout ended with {self.process.returncode}: {err.strip()}")
        found: dict[str, Any] = json.loads(out)
        return found
