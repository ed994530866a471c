"""A recorder reports runs to one server with one key: it begins runs, takes their events and counts their delivery.

Several recorders in one process share nothing. A program with only one need not make it: `default` does, from the
environment.
"""

from __future__ import annotations

import functools
import logging
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from towerlog.sdk.record.backlog.buffer import Backlog
from towerlog.sdk.record.backlog.destination import Destination
from towerlog.sdk.record.backlog.hooks import MAX_PAUSE_S, Hooks
from towerlog.sdk.record.backlog.losses import Losses, Range
from towerlog.sdk.record.backlog.spool import Overflow, spool_root
from towerlog.sdk.record.delivery import Delivery
from towerlog.sdk.record.encoder import EventEncoder, place_of
from towerlog.sdk.record.process_exit import ProcessExit
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_block import Recording, run_key_of
from towerlog.sdk.record.run_handles import Run
from towerlog.sdk.record.run_sink import ProcessState, RunSink
from towerlog.sdk.wire.address import TIMEOUT_S, Url
from towerlog.sdk.wire.http import Http
from towerlog.sdk.wire.ids import uuid7

MEMORY_BYTES = 32 * 1024 * 1024
"""Twice the largest checkpoint: one that waits must not push out the small events beside it."""
SPOOL_BYTES = 256 * 1024 * 1024
BEAT_S = 60.0
"""After how long without an event a heartbeat is sent for a run that has not ended."""
EXIT_S = 2.0
"""How long the program's exit waits for the delivery; what is left is spooled for the next program."""

_log = logging.getLogger("towerlog.sdk")

Held = TypeVar("Held")


@dataclass(frozen=True)
class Status:
    """Counts of this process's events, and of those that it took over from earlier processes."""

    queued: int
    """In memory."""
    spooled: int
    """On disk, not delivered."""
    sent: int
    """Each try counted."""
    acknowledged: int
    duplicates: int
    """Acknowledged events that the server had stored before."""
    refused: int
    dropped: int
    """Will never be delivered: rejected, or no room."""
    last_error: str | None


class Recorder:
    """Reports runs. Safe for threads, for asyncio and for forks."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
        spool_bytes: int = SPOOL_BYTES,
        spool_dir: str | os.PathLike[str] | None = None,
        overflow: Overflow = "oldest",
        exit_seconds: float = EXIT_S,
        longest_pause_seconds: float = MAX_PAUSE_S,
        destination: Destination | None = None,
    ) -> None:
        """Connects to nothing and makes no thread before the first event. Raises ValueError for a wrong argument.

        `overflow` says which events are dropped when there is no room: the oldest, or the newest. `destination` stands
        for `url` and `api_key`, and may be one that nothing can be sent to.
        """
        self._destination = destination or Destination.of(url, api_key)
        if overflow not in ("oldest", "newest"):
            raise ValueError("overflow must be 'oldest' or 'newest'")
        root = Path(spool_dir) if spool_dir is not None else spool_root()
        self._home = self._destination.folder(root)
        self._memory_bytes, self._spool_bytes, self._overflow = memory_bytes, spool_bytes, overflow
        self._exit_s, self._longest_pause_s = exit_seconds, longest_pause_seconds
        self._runs: weakref.WeakValueDictionary[str, BaseRun] = weakref.WeakValueDictionary()
        self._sinks: weakref.WeakValueDictionary[str, RunSink] = weakref.WeakValueDictionary()
        self.adapters: dict[str, Any] = {}
        """What adapters remember of this process beside their runs, by their names."""
        if self._destination.why_not is not None:
            _log.error(
                "%s: events cannot be delivered; `towerlog spool ls` shows what is spooled", self._destination.why_not
            )
        self.state = self._opened()
        weak = weakref.ref(self)
        os.register_at_fork(after_in_child=functools.partial(_forked, weak))
        self._exit = ProcessExit(functools.partial(_left, weak))

    def __repr__(self) -> str:
        return f"Recorder({self.url!r})"

    @property
    def url(self) -> str:
        """The address of the server, where it was found last."""
        return self._destination.url

    def record_run(
        self,
        agent: str | None = None,
        thread: str | None = None,
        input: Any = None,  # noqa: A002 the name that users know it by
        *,
        run_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Recording:
        """A run, for `with` (a `Run`) and `async with` (an `AsyncRun`). Inside another run it is that one's child.

        `run_key` names the run, 1 to 128 visible characters; by default it is a fresh id. An exception in the block
        ends the run as failed, a cancellation as cancelled, and goes on.
        """
        return Recording(self, run_key_of(run_key), agent, thread, input, metadata, labels)

    def start_run(
        self,
        agent: str | None = None,
        thread: str | None = None,
        input: Any = None,  # noqa: A002 the name that users know it by
        *,
        parent: BaseRun | str | None = None,
        run_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Run:
        """A run without a block, which ends with its `finish`. It is nowhere the current one.

        `parent`: a run or its `run_key`; by default the current run.
        """
        return Recording(self, run_key_of(run_key), agent, thread, input, metadata, labels, parent).open(Run)

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until every event reported before is stored by the server. False if that fails, for whatever reason."""
        try:
            return self.state.delivery.flush(timeout)
        except Exception:
            _log.exception("flush failed")
            return False

    def drain(self, timeout: float) -> bool:
        """Delivers what this and ended programs with the same URL and key have left. False on timeout."""
        return self.state.delivery.drain(timeout)

    def status(self) -> Status:
        """Where the events are."""
        state = self.state
        delivery = state.delivery
        return Status(
            queued=state.backlog.queued,
            spooled=state.backlog.spool.waiting,
            sent=delivery.sent,
            acknowledged=delivery.outcomes.acknowledged,
            duplicates=delivery.outcomes.duplicates,
            refused=delivery.outcomes.refused,
            dropped=state.losses.dropped,
            last_error=delivery.last_error,
        )

    def close(self, timeout: float = EXIT_S) -> bool:
        """Delivers what it can in this time, spools the rest, and ends the threads. Returns what `flush` does."""
        self._exit.disarm()
        delivered = self.flush(timeout)
        self.state.delivery.stop(1.0)
        self.state.backlog.close()
        return delivered

    # For the runs, and for delivery

    def sink_of(self, run_key: str, thread: str | None) -> RunSink:
        """The sink of a run's events. One key has one sink, so that its numbers have no gap."""
        found = self._sinks.get(run_key)
        if found is None:
            found = self._sinks.setdefault(run_key, RunSink(self, run_key, thread))
        return found

    def access(self, run: BaseRun) -> tuple[Url, str | None]:
        """The server and the key, once the server knows the run. Raises ValueError where nothing can be sent."""
        found = self.server()
        if run.run_id is None:
            self.flush(TIMEOUT_S)
        return found

    def server(self) -> tuple[Url, str | None]:
        """The server and the key. Raises ValueError where nothing can be sent."""
        if self._destination.why_not is not None:
            raise ValueError(self._destination.why_not)
        return self._destination.server, self._destination.api_key

    def has_open(self, run_key: str) -> bool:
        """Whether this process reports the run of this key, and has not ended it."""
        run = self._runs.get(run_key)
        return run is not None and not run.ended

    def began(self, run: BaseRun) -> None:
        """Delivers the run's commands to it from now on."""
        if run.run_key is not None:
            self._runs[run.run_key] = run

    def _opened(self) -> ProcessState:
        losses = Losses()
        backlog = Backlog(
            uuid7(),
            self._home,
            losses,
            self._memory_bytes,
            self._spool_bytes,
            self._overflow,
            self._destination.note,
        )
        hooks = Hooks(
            self._transport,
            self._going_on,
            self._beat,
            self._commanded,
            self._notice,
            self._nameless,
            self._named,
            self._with_older_base,
            self._destination.why_not,
            self._longest_pause_s,
        )
        return ProcessState(losses, backlog, Delivery(backlog, losses, hooks))

    def _transport(self) -> Http:
        if self._destination.why_not is not None:
            raise ValueError(self._destination.why_not)
        return Http(self._destination.server, self._destination.api_key, TIMEOUT_S)

    def _going_on(self) -> list[str]:
        """The keys of the runs that have not ended."""
        return [run.run_key for run in _living(self._runs) if run.run_key is not None and not run.ended]

    def _beat(self) -> None:
        """Sends a heartbeat for each run without an event for `BEAT_S`."""
        for run in _living(self._runs):
            sink = self._sinks.get(run.run_key or "")
            if sink is not None and not run.ended and sink.quiet_s >= BEAT_S:
                run.beat()

    def _commanded(self, command: dict[str, Any]) -> bool:
        run = self._runs.get(str(command.get("run_key")))
        return run is not None and run.deliver(command)

    def _nameless(self) -> bool:
        return any(run.run_id is None for run in _living(self._runs))

    def _named(self, run_key: str, run_id: str) -> None:
        run = self._runs.get(run_key)
        if run is not None and run.run_id is None:
            run.run_id = run_id

    def _with_older_base(self, client_id: str, line: bytes) -> bytes | None:
        sink = self._sinks.get(place_of(line)[0]) if client_id == self.state.backlog.client_id else None
        return None if sink is None else sink.with_older_base(line)

    def _notice(self, loss: Range) -> bytes:
        """The event that says which numbers will never come.

        It has a number of its own while the run object exists. After that it takes the last of the lost numbers, which
        no other event will use.
        """
        sink = self._sinks.get(loss.run_key) if loss.client_id == self.state.backlog.client_id else None
        if sink is not None:
            return sink.encode_loss(self.state, loss)
        encoder = EventEncoder(loss.run_key, loss.to_seq - 1)
        return encoder.encode_loss(loss.from_seq, loss.to_seq, loss.reason)

    def after_fork(self) -> None:
        """In the child of a fork: becomes a new client with its own threads; undelivered events stay the parent's."""
        parents = self.state
        for run in _living(self._runs):
            run.after_fork()
        for sink in _living(self._sinks):
            sink.after_fork()
        self.state = self._opened()
        parents.backlog.abandon()
        self._exit.arm()

    def leave(self) -> None:
        """At the program's exit: delivers for a moment, spools the rest."""
        delivery = self.state.delivery
        if delivery.reachable and self._destination.why_not is None:
            delivery.flush(self._exit_s)
        delivery.stop(0.2)


def _living(values: weakref.WeakValueDictionary[str, Held]) -> list[Held]:
    """The values that still exist. The program's threads add others meanwhile: to iterate over them would raise."""
    return [value for reference in values.valuerefs() if (value := reference()) is not None]


def _forked(weak: weakref.ref[Recorder]) -> None:
    recorder = weak()
    if recorder is not None:
        recorder.after_fork()


def _left(weak: weakref.ref[Recorder]) -> None:
    recorder = weak()
    if recorder is not None:
        recorder.leave()
