"""Events that a worker could not report, because the lease was lost or the server rejected them, kept in a file.

One file per worker, one line of JSON per event, created with the first line. Its size is bounded; past that, lost
events are only counted in the log.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from towerlog.sdk.record.backlog.own_files import OwnFolder, private_folder
from towerlog.sdk.record.backlog.spool import state_folder
from towerlog.sdk.work.outbox import OutboxEvent

MAX_FILE_BYTES = 64 * 1024 * 1024

_log = logging.getLogger("towerlog.worker")


def default_folder() -> Path:
    """`dead-letters` in the folder for state."""
    return state_folder() / "dead-letters"


class DeadLetters:
    """The file of one worker."""

    def __init__(self, folder: Path, worker_id: str) -> None:
        """Creates nothing yet. `worker_id` was made by this SDK and can be a file name."""
        self.path = folder / f"{worker_id}.ndjson"

    def keep(self, run_id: str, events: Iterable[OutboxEvent], reason: str) -> None:
        """Appends events to the file. A disk error is only logged: the worker goes on."""
        lines = [_line(run_id, event, reason) for event in events]
        if not lines:
            return
        try:
            self._append(b"".join(lines))
        except OSError as error:
            _log.error("%d events of run %s are lost: %s: %s", len(lines), run_id, self.path, error.strerror)
        else:
            _log.warning("%d events of run %s not accepted (%s); kept in %s", len(lines), run_id, reason, self.path)

    def _append(self, text: bytes) -> None:
        private_folder(self.path.parent)
        with OwnFolder.open(self.path.parent) as folder:
            number = folder.open_file(self.path.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with os.fdopen(number, "ab") as file:
            if file.tell() + len(text) > MAX_FILE_BYTES:
                raise OSError(27, "the dead-letter file is full")
            file.write(text)


def _line(run_id: str, event: OutboxEvent, reason: str) -> bytes:
    head = json.dumps({"run_id": run_id, "reason": reason, "written_at_ms": time.time_ns() // 1_000_000})
    return head[:-1].encode() + b', "event": ' + event.line + b"}\n"
