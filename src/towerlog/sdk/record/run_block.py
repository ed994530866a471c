"""A run as a `with` block: begun at its start, current inside it, ended at its end."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, TypeVar

from towerlog.sdk.record.backlog.sink import Sink
from towerlog.sdk.record.current import Active, current_run
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import AsyncRun, Run
from towerlog.sdk.record.values.encoding import name_text, plain
from towerlog.sdk.record.values.figures import Fit, mapping, thread_of
from towerlog.sdk.record.values.figures import labels as labels_of
from towerlog.sdk.wire.ids import uuid7

AnyRun = TypeVar("AnyRun", bound=BaseRun)
MAX_KEY_CHARS = 128
_UNFIT = re.compile(r"[^!-~]")


def run_key_of(given: object) -> str:
    """The key that the program gives, with characters that the wire does not allow replaced; else a fresh one."""
    if given is None or given == "":
        return uuid7()
    whole = given if isinstance(given, str) else name_text(given)
    text = _UNFIT.sub("-", whole)
    if text == whole and len(text) <= MAX_KEY_CHARS:
        return text
    # Two keys must stay two keys after their characters were replaced.
    return f"{text[: MAX_KEY_CHARS - 17]}-{hashlib.sha256(whole.encode('utf-8', 'replace')).hexdigest()[:16]}"


class RunReporter(Protocol):
    """What reports runs: a `Recorder`."""

    def sink_of(self, run_key: str, thread: str | None) -> Sink:
        """The sink of a run's events."""

    def began(self, run: BaseRun) -> None:
        """Delivers the run's commands to it from now on."""


class Recording:
    """`with recorder.record_run(…) as run:` or `async with …`. Can be entered once."""

    def __init__(
        self,
        reporter: RunReporter,
        run_key: str,
        agent: object,
        thread: object,
        input_value: Any,
        metadata: Mapping[str, Any] | None,
        labels: Mapping[str, str] | None,
        parent: BaseRun | str | None = None,
    ) -> None:
        """`parent`: a run or its key; by default the run that is current when this one begins."""
        self._reporter = reporter
        self._parent = parent
        self._run_key = run_key
        self._agent = None if agent is None else name_text(agent)
        self._thread = None if thread is None else thread_of(thread)
        self._told = Fit()
        """What the start says beside the input."""
        self._told.take("metadata", metadata, mapping)
        self._told.take("labels", labels, labels_of)
        if thread is not None and thread != "" and self._thread != thread:
            self._told.invalid["thread"] = plain(thread)
        self._input = input_value
        self._run: BaseRun | None = None
        self._active: Active | None = None
        self._process = 0
        """That has begun the run: a fork that leaves the block does not end it."""

    def open(self, kind: type[AnyRun]) -> AnyRun:
        """Begins the run without making it the current one, for code where a block does not fit."""
        parent = current_run() if self._parent is None else self._parent
        named = {"parent_run_key": run_key_of(parent)} if isinstance(parent, str) else _named(parent, self._reporter)
        if self._thread is None and named and isinstance(parent, BaseRun):
            # As the server names the thread of a run that has none.
            self._thread = parent.thread or thread_of((parent.run_key or "").replace("/", "-"))
        sink = self._reporter.sink_of(self._run_key, self._thread)
        run = kind(sink, self._run_key, self._agent, thread=self._thread, input=self._input)
        self._reporter.began(run)
        run.start(input=self._input, **self._told.all(), **named)
        self._run, self._process = run, os.getpid()
        return run

    def _enter(self, kind: type[AnyRun]) -> AnyRun:
        run = self.open(kind)
        self._active = Active(run)
        return run

    def _leave(self, error: BaseException | None) -> None:
        if self._active is not None:
            self._active.leave()
        if self._run is None or self._process != os.getpid():
            return
        if error is None:
            self._run.complete()
        else:
            self._run.end_with(error)

    def __enter__(self) -> Run:
        return self._enter(Run)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._leave(error)

    async def __aenter__(self) -> AsyncRun:
        return self._enter(AsyncRun)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._leave(error)


def _named(parent: BaseRun | None, reporter: RunReporter) -> dict[str, str]:
    """The event fields that name the parent run; none if that belongs to another reporter."""
    if parent is None or getattr(parent.sink, "home", reporter) is not reporter:
        return {}
    if parent.run_key is not None:
        return {"parent_run_key": parent.run_key}
    return {"parent_run_id": parent.run_id} if parent.run_id is not None else {}
