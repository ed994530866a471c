"""The sink of one run of a recorder: numbers and encodes its events, and adds them to the backlog."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

from towerlog.sdk.record.backlog.buffer import Backlog
from towerlog.sdk.record.backlog.losses import Losses, Range
from towerlog.sdk.record.delivery import Delivery
from towerlog.sdk.record.encoder import EventEncoder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.wire.address import Url

_log = logging.getLogger("towerlog.sdk")


@dataclass(frozen=True)
class ProcessState:
    """What belongs to one process: after a fork the child makes its own."""

    losses: Losses
    backlog: Backlog
    delivery: Delivery


class RunRecorder(Protocol):
    """What the sink of a run needs from its recorder."""

    state: ProcessState

    @property
    def url(self) -> str:
        """The address of the server."""

    def access(self, run: BaseRun) -> tuple[Url, str | None]:
        """The server and the key, once the server knows the run."""


class RunSink:
    """Takes the events of one run: numbers them, encodes them, adds them to the backlog."""

    def __init__(self, recorder: RunRecorder, run_key: str, thread: str | None) -> None:
        self._recorder = recorder
        self._run_key = run_key
        self._thread = thread
        # Re-entrant: garbage collection while an event is encoded may report another one.
        self._lock = threading.RLock()
        self._state: ProcessState | None = None
        self._encoder = EventEncoder(run_key)
        self._told_at = time.monotonic()

    @property
    def quiet_s(self) -> float:
        """Seconds since the last event."""
        return time.monotonic() - self._told_at

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._recorder.url

    @property
    def home(self) -> object:
        """Runs of the same recorder can be parent and child."""
        return self._recorder

    def put(self, event: dict[str, Any]) -> None:
        """Never blocks, never raises."""
        try:
            with self._lock:
                self._told_at = time.monotonic()
                state = self._recorder.state
                encoder = self._encoder if state is self._state else self._encoder_in(state)
                # The first event of a forked process may overtake the start, and begins the run on the server then.
                if self._thread is not None and (encoder.seq == 0 or event["type"] == "run.started"):
                    event["thread"] = self._thread
                line = encoder.encode(event)
                if line is not None:
                    state.backlog.put(self._run_key, encoder.seq, line)
                if encoder.lost:
                    self._tell_lost(state, encoder)
            state.delivery.noticed()
        except Exception:
            # A failure to report must never break the program.
            _log.exception("an event of run %s could not be recorded", self._run_key)

    def _tell_lost(self, state: ProcessState, encoder: EventEncoder) -> None:
        """Counts and reports what could not be sent whole: after the event beside it, which may begin the run."""
        lost, encoder.lost = encoder.lost, []
        for seq, reason in lost:
            _log.warning("run %s: %s; it is counted as dropped", self._run_key, reason)
            state.losses.count(1)
            state.backlog.put(self._run_key, encoder.seq + 1, encoder.encode_loss(seq, seq, reason))

    def resumes(self, history: object) -> None:
        """The server has this history of the run: what goes on from it is sent by what is new."""
        with self._lock:
            self._encoder_in(self._recorder.state).resumes(history)

    def with_older_base(self, line: bytes) -> bytes | None:
        """The checkpoint of a line whose base the server does not know, with an older one or none; None if lost."""
        with self._lock:
            return self._encoder.with_older_base(line)

    def expect(self, run: BaseRun, waiting: bool) -> None:
        """Whether commands of this run are waited for."""
        self._recorder.state.delivery.expect(self._run_key, waiting)

    def access(self, run: BaseRun) -> tuple[Url, str | None]:
        """After what was reported so far is stored: the server knows the run then. Raises ValueError."""
        return self._recorder.access(run)

    def encode_loss(self, state: ProcessState, loss: Range) -> bytes:
        """A notice that events of this run will never come, with the next number of its events."""
        with self._lock:
            return self._encoder_in(state).encode_loss(loss.from_seq, loss.to_seq, loss.reason)

    def _encoder_in(self, state: ProcessState) -> EventEncoder:
        # After a fork the events are another client's, so their numbers begin anew.
        if state is not self._state:
            self._state, self._encoder = state, EventEncoder(self._run_key)
        return self._encoder

    def after_fork(self) -> None:
        """In the child of a fork: makes a new lock; a thread that holds the old one exists only in the parent."""
        self._lock = threading.RLock()
