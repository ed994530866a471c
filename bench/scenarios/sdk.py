"""The SDK: what one call costs on the caller's thread, with a recorder that delivers behind it."""

import threading
import time
from collections.abc import Callable
from statistics import median

from bench.context import Context
from bench.figures import Row, percentile
from bench.servers import towerlog as open_towerlog
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run_handles import Run

NAME = "sdk"
MAX_CALL_MICROSECONDS = 50.0
WARM_CALLS = 200
BETWEEN_SECONDS = 0.0005


def calls_of(run: Run) -> dict[str, Callable[[], object]]:
    """The calls that an agent makes most."""

    return {
        "message_delta": lambda: run.message_delta("a few words of text"),
        "step": lambda: run.step("mark", {"number": 1}),
        "model_call": lambda: run.model_call("gpt-4o-mini", input_tokens=900, output_tokens=80, cost_usd=0.0002),
        "tool_call, its beginning": lambda: run.tool_call("search", arguments={"q": "x"}).begin(),
    }


def microseconds(call: Callable[[], object], calls: int) -> list[float]:
    """What each call took. A breath between them, as a program has that does something else as well."""
    idle = threading.Event()
    for _ in range(WARM_CALLS):
        call()
    taken = []
    for _ in range(calls):
        idle.wait(BETWEEN_SECONDS)
        began = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - began) / 1000)
    return taken


def row_of(name: str, taken: list[float]) -> Row:
    """The median is held against the law; how bad it gets stands beside it."""
    return Row(
        NAME,
        f"SDK call, {name}",
        "µs",
        median(taken),
        threshold=MAX_CALL_MICROSECONDS,
        detail={"p99_microseconds": percentile(taken, 0.99), "calls": len(taken)},
    )


def measure(context: Context) -> list[Row]:
    """All calls against a real server."""
    with context.folder(NAME) as folder, open_towerlog(folder / "data") as server:
        recorder = Recorder(f"http://127.0.0.1:{server.port}", server.key, spool_dir=folder / "spool")
        run = recorder.record_run(agent="bench").open(Run)
        rows = [row_of(name, microseconds(call, context.effort.sdk_calls)) for name, call in calls_of(run).items()]
        run.complete()
        delivered = recorder.close(30.0)
        if not delivered:
            rows.append(Row(NAME, "SDK delivery", "events", problem=f"not all arrived: {recorder.status()}"))
        return rows
