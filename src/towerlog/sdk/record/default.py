"""The default recorder of a program: made with its first run, from TOWERLOG_URL and TOWERLOG_API_KEY."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

from towerlog.sdk.record.backlog.destination import Destination
from towerlog.sdk.record.recorder import Recorder, Status
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_block import Recording
from towerlog.sdk.record.run_handles import Run


class DefaultRecorder:
    """Makes the recorder when it is first needed."""

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._destination: Destination | None = None
        self.after_fork()
        os.register_at_fork(after_in_child=self.after_fork)

    def after_fork(self) -> None:
        """In the child of a fork: makes a new lock; a thread that holds the old one exists only in the parent."""
        # Re-entrant: a signal handler or garbage collection may report while this thread holds it.
        self._lock = threading.RLock()

    def report_to(self, destination: Destination) -> None:
        """A recorder that is made from now on reports there, and not to the server of the environment."""
        self._destination = destination

    @property
    def recorder(self) -> Recorder:
        """The recorder. Never raises: with an invalid URL or key it keeps what is reported, and delivers nothing."""
        with self._lock:
            if self._recorder is None:
                self._recorder = Recorder(destination=self._destination or Destination.of_environment())
            return self._recorder

    @property
    def made(self) -> Recorder | None:
        """The recorder, if it was made."""
        return self._recorder


DEFAULT = DefaultRecorder()


def default_recorder() -> Recorder:
    """The recorder that `towerlog.record_run` reports to."""
    return DEFAULT.recorder


def record_run(
    agent: str | None = None,
    thread: str | None = None,
    input: Any = None,  # noqa: A002 the name that users know it by
    *,
    run_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Recording:
    """A run, for `with` and `async with`, reported to the server of the environment. See `Recorder.record_run`."""
    return DEFAULT.recorder.record_run(agent, thread, input, run_key=run_key, metadata=metadata, labels=labels)


def start_run(
    agent: str | None = None,
    thread: str | None = None,
    input: Any = None,  # noqa: A002 the name that users know it by
    *,
    parent: BaseRun | str | None = None,
    run_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Run:
    """A run without a block, reported to the server of the environment. See `Recorder.start_run`."""
    return DEFAULT.recorder.start_run(
        agent, thread, input, parent=parent, run_key=run_key, metadata=metadata, labels=labels
    )


def flush(timeout: float = 10.0) -> bool:
    """Waits until every event reported before is stored by the server; True only then."""
    return DEFAULT.made is None or DEFAULT.recorder.flush(timeout)


def status() -> Status:
    """Where the events are."""
    return DEFAULT.recorder.status()
