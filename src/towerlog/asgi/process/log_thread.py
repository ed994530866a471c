"""Lines of the log, written by a thread of their own: whoever logs never waits for whoever reads the log.

A reader that stands still (a terminal that was stopped, a collector that hangs) makes the operating system hold back
who writes. That is this thread and nobody else; what has no room meanwhile is dropped and counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections import deque

MAX_WAITING_BYTES = 1024 * 1024
BYTES_AT_ONCE = 64 * 1024
FLUSH_SECONDS = 0.5
"""How long the end of the process waits for lines that are on their way."""


class LogThread(logging.Handler):
    """Writes the log of one process, in a thread."""

    def __init__(self, descriptor: int) -> None:
        """Begins to write to an open file."""
        super().__init__()
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque(maxlen=MAX_WAITING_BYTES)  # each has some bytes
        self._waiting_bytes = 0
        """Of the lines, and of those that are being written."""
        self.dropped = 0
        """Lines that the log does not tell of yet."""
        threading.Thread(target=self._write_all, name="towerlog-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line, or drops it. Never waits."""
        try:
            line = self.format(record).encode("ascii", "backslashreplace") + b"\n"
            with self._changed:
                is_full = self._waiting_bytes + len(line) > MAX_WAITING_BYTES
                if is_full:
                    self.dropped += 1
                else:
                    self._tell_dropped()
                    self._put(line)
        except Exception:  # as every handler: a line that cannot be made must not break what it is about
            self.dropped += 1

    def flush(self) -> None:
        """Waits until all is written, for FLUSH_SECONDS at most."""
        with self._changed:
            self._tell_dropped()
            self._changed.wait_for(lambda: not self._waiting_bytes, FLUSH_SECONDS)

    def _tell_dropped(self) -> None:
        count, self.dropped = self.dropped, 0
        if count:
            told = f"{count} lines of the log were dropped: nobody read them"
            record = logging.LogRecord("towerlog.log", logging.WARNING, __file__, 0, told, None, None)
            self._put(self.format(record).encode("ascii", "backslashreplace") + b"\n")

    def _put(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting_bytes += len(line)
        self._changed.notify_all()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                some, size = [], 0
                while self._lines and size < BYTES_AT_ONCE:
                    some.append(self._lines.popleft())
                    size += len(some[-1])
            is_written = self._write(b"".join(some))
            with self._changed:
                self._waiting_bytes -= size
                self.dropped += 0 if is_written else len(some)
                self._changed.notify_all()

    def _write(self, text: bytes) -> bool:
        """Whether all was written; not where the reader has gone or the disk is full."""
        while text:
            try:
                text = text[os.write(self._descriptor, text) :]
            except BlockingIOError:
                with contextlib.suppress(OSError):
                    select.select([], [self._descriptor], [])
            except OSError:
                return False
        return True
