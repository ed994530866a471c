"""`towerlog exec`: runs a command as a run with one call of the tool `exec`. Its output is counted, not stored; what
people ask of the run is carried out on the command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.work.child_process import Finished, block_signals, run_command
from towerlog.sdk.work.steering import GRACE_S, Steering

TOOL = "exec"
FLUSH_S = 2.0
"""How long the delivery may take at the end; undelivered events are spooled for the next process."""


def _say_nothing(_line: str) -> None:
    pass


def execute(
    argv: Sequence[str],
    recorder: Callable[[], Recorder],
    *,
    agent: str,
    thread: str | None = None,
    hide_arguments: bool = False,
    grace_s: float = GRACE_S,
    say: Callable[[str], None] = _say_nothing,
) -> Finished:
    """Runs a command to its end, whether or not the server can be reached. For the main thread of its own process.

    The recorder is made here, after signals are blocked: a signal goes to any thread that does not block it.

    `hide_arguments`: only the command's name is reported, as arguments may hold secrets. `grace_s`: how long it may
    take to end after a cancel. `say` tells the person at the terminal what is done to it.
    """
    mask = block_signals()
    reporter = recorder()
    told = list(argv[:1]) if hide_arguments else list(argv)
    with reporter.record_run(agent=agent, thread=thread, input=" ".join(told)) as run:
        steering = Steering(run, grace_s, say)
        with _told(run, told) as results:
            finished = run_command(argv, mask, steering)
            results.append(finished)
        if finished.exit_code and steering.was_cancelled:
            run.give_up()
        elif finished.exit_code:
            run.fail(finished.error or finished.signal or f"exit code {finished.exit_code}")
        else:
            run.complete({"exit_code": 0})
    reporter.flush(FLUSH_S)
    return finished


@contextlib.contextmanager
def _told(run: BaseRun, command: list[str]) -> Iterator[list[Finished]]:
    """Reports the tool call around the command; the caller adds how it finished to the list."""
    results: list[Finished] = []
    with run.tool_call(TOOL, arguments={"command": command, "folder": os.getcwd()}) as call:
        yield results
        finished = results[0]
        call.result = {
            "exit_code": finished.exit_code,
            "signal": finished.signal,
            "stdout_bytes": finished.stdout_bytes,
            "stderr_bytes": finished.stderr_bytes,
        }
        if finished.exit_code:
            call.fail(finished.error or finished.signal or f"exit code {finished.exit_code}")
