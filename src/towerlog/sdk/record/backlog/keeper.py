"""The keeper: a thread's loop that writes events to the spool when they have waited too long in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from towerlog.sdk.record.backlog.buffer import Backlog
from towerlog.sdk.record.backlog.spool import spool_root

SPILL_AFTER_NS = 320_000_000
SPILL_TICK_S = 0.1
"""With `SPILL_AFTER_NS` under half a second, allowing for a slow disk: what a `kill -9` may lose."""
SYNC_EVERY_S = 1.0


class Keeper:
    """Keeps what a backlog has in memory."""

    def __init__(self, backlog: Backlog, stopping: threading.Event, note: Callable[[str, str], None]) -> None:
        """Runs until `stopping` is set and `wake` is called. `note` is told what the disk refuses, and its kind."""
        self._backlog = backlog
        self._stopping = stopping
        self._note = note
        self.fault: str | None = None
        """Why the last spill has failed, and what can be done; None if it did not."""
        self._awake = threading.Event()
        self._crowded = threading.Event()

    def look(self, size: int) -> None:
        """There is an event in memory, and so many bytes of them. Quick, and raises nothing."""
        if not self._awake.is_set():
            self._awake.set()
        if size >= self._backlog.crowded_bytes and not self._crowded.is_set():
            self._crowded.set()

    def wake(self) -> None:
        """Ends its waits."""
        self._awake.set()
        self._crowded.set()

    def run(self) -> None:
        """The loop."""
        sync_at = 0.0
        while not self._stopping.is_set():
            self._awake.wait()
            self._awake.clear()
            while not self._stopping.is_set() and not self._backlog.resting:
                self._crowded.wait(SPILL_TICK_S)
                self._crowded.clear()
                if self.spill(SPILL_AFTER_NS) and time.monotonic() >= sync_at:
                    sync_at = time.monotonic() + SYNC_EVERY_S
                    self.sync()

    def spill(self, older_than_ns: int) -> int:
        """Writes what has waited this long; how many events."""
        self.fault = None
        try:
            return self._backlog.spill(older_than_ns)
        except OSError as error:
            self.fault = self._explained(error)
            self._note(self.fault, "spool")
            return 0

    def _explained(self, error: OSError) -> str:
        home = self._backlog.spool.home
        words = f"cannot write the spool {error.filename or home}: {error.strerror}."
        return f"{words} Set XDG_STATE_HOME to a folder that can be written." if _is_default(home) else words

    def sync(self) -> None:
        """Syncs the files."""
        try:
            self._backlog.sync()
        except OSError as error:
            self._note(f"cannot sync the spool {self._backlog.spool.home}: {error.strerror}", "sync")


def _is_default(home: Path) -> bool:
    return home.is_relative_to(spool_root())
