"""What the server wants of a run: cancel, input, pause, resume; brought by one thread, awaited by others.

Each command is acted on once, however often the server repeats it, and acknowledged when it has had its effect.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from typing import Any

REMEMBERED_MAX = 1000
"""Commands of a run that are remembered, so that a repetition is not taken for a new one."""
ANSWERS_MAX = 100
"""Answers that may wait for a question."""

Command = Mapping[str, Any]


class RunCancelled(Exception):
    """Somebody wants this run to stop."""


class Inbox:
    """The commands of one run."""

    def __init__(self, acknowledge: Callable[[Command], None]) -> None:
        self._acknowledge = acknowledge
        self._lock = threading.Lock()
        self._seen: deque[object] = deque(maxlen=REMEMBERED_MAX)
        self._answers: deque[Command] = deque(maxlen=ANSWERS_MAX)
        self._asking: deque[Future[Any]] = deque(maxlen=ANSWERS_MAX)
        self._pause: Command | None = None
        self._paused: Future[Any] | None = None
        self._callbacks: deque[Callable[[], None]] = deque(maxlen=ANSWERS_MAX)
        self.cancelled = False

    @property
    def pausing(self) -> bool:
        """Whether a pause has come that has not begun."""
        return self._pause is not None

    def take(self, command: Command) -> None:
        """Acts on a command that has not been seen before; one of an unknown type is left alone."""
        with self._lock:
            command_id = command.get("command_id")
            if command_id in self._seen:
                return
            self._seen.append(command_id)
        match command.get("type"):
            case "cancel":
                self._cancel(command)
            case "input":
                self._answered(command)
            case "pause":
                with self._lock:
                    self._pause = command
            case "resume":
                self._resumed(command)
            case _:
                return

    def after_fork(self) -> None:
        """In the child of a fork: nobody holds the lock here, whatever it looks like."""
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises RunCancelled after a cancel."""
        if self.cancelled:
            raise RunCancelled("cancelled")

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Calls back once, now if it is cancelled already."""
        with self._lock:
            if not self.cancelled:
                self._callbacks.append(callback)
                return
        callback()

    def answer(self) -> Future[Any]:
        """The next answer; acknowledged when it is here."""
        future: Future[Any] = Future()
        with self._lock:
            command = self._answers.popleft() if self._answers else None
            if command is None and self.cancelled:
                future.set_exception(RunCancelled("cancelled"))
            elif command is None:
                self._asking.append(future)
        if command is not None:
            self._acknowledge(command)
            future.set_result(command.get("content"))
        return future

    def pause(self) -> Future[Any] | None:
        """Begins a pause that somebody wants: what comes with its end; None when nobody does."""
        with self._lock:
            command, self._pause = self._pause, None
            if command is None:
                return None
            future: Future[Any] = Future()
            self._paused = future
        self._acknowledge(command)
        return future

    def forget(self, future: Future[Any]) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            with contextlib.suppress(ValueError):
                self._asking.remove(future)
            if self._paused is future:
                self._paused = None

    def _answered(self, command: Command) -> None:
        with self._lock:
            if not self._asking:
                self._answers.append(command)
                return
            future = self._asking.popleft()
        # First the acknowledgement, so that it stands before all that the answer leads to.
        self._acknowledge(command)
        _settle(future, command.get("content"))

    def _resumed(self, command: Command) -> None:
        with self._lock:
            pending, self._pause = self._pause, None
            future, self._paused = self._paused, None
        for each in (pending, command):
            if each is not None:
                self._acknowledge(each)
        if future is not None:
            _settle(future, None)

    def _cancel(self, command: Command) -> None:
        with self._lock:
            self.cancelled = True
            waiting = [*self._asking, *([self._paused] if self._paused else [])]
            self._asking.clear()
            self._paused = None
            callbacks = [*self._callbacks]
            self._callbacks.clear()
        self._acknowledge(command)
        for future in waiting:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(RunCancelled("cancelled"))
        for callback in callbacks:
            callback()


def _settle(future: Future[Any], value: object) -> None:
    # Whoever waited may have given up in this very moment.
    with contextlib.suppress(InvalidStateError):
        future.set_result(value)
