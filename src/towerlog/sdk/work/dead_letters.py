"""What a worker had to say of a run that was not its own any more, kept in a file: nothing is lost without a trace.

One file for each worker, a line of JSON for each event, made with the first line. It is bounded; past that, lines are
counted in the log alone.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from towerlog.sdk.record.backlog.spool import state_folder
from towerlog.sdk.work.outbox import OutboxEvent

FILE_BYTES_MAX = 64 * 1024 * 1024

_log = logging.getLogger("towerlog.worker")


def default_folder() -> Path:
    """`dead-letters` in the folder for state."""
    return state_folder() / "dead-letters"


class DeadLetters:
    """The file of one worker."""

    def __init__(self, folder: Path, worker_id: str) -> None:
        """Makes nothing yet. `worker_id` is a name of ours, and fit for a file."""
        self.path = folder / f"{worker_id}.ndjson"

    def keep(self, run_id: str, events: Iterable[OutboxEvent], reason: str) -> None:
        """Writes them down; a disk that does not take them is told to the log, for the work must go on."""
        lines = [_line(run_id, event, reason) for event in events]
        if not lines:
            return
        try:
            self._append(b"".join(lines))
        except OSError as error:
            _log.error("%d events of run %s are lost: %s: %s", len(lines), run_id, self.path, error.strerror)
        else:
            _log.warning("%d events of run %s were not taken (%s): see %s", len(lines), run_id, reason, self.path)

    def _append(self, text: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self.path, flags, 0o600), "ab") as file:
            if file.tell() + len(text) > FILE_BYTES_MAX:
                raise OSError(27, "the file of dead letters is full")
            file.write(text)


def _line(run_id: str, event: OutboxEvent, reason: str) -> bytes:
    head = json.dumps({"run_id": run_id, "reason": reason, "written_at_ms": time.time_ns() // 1_000_000})
    return head[:-1].encode() + b', "event": ' + event.line + b"}\n"
