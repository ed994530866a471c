"""What has gone wrong with writing to a store: a failure that is final, or one that passes when its cause does.

Judged by what happened to the last write, and not by what a disk says of its room: a quota and the limit of a file's
size show nowhere else.

One object a store, shared by its threads. After a sync that failed nobody knows what is on disk: the kernel has marked
the pages as written, and the next sync says that all is well. So the first such failure ends all writing in this
process, checkpoints and the last one at the close included. The writer, the checkpoints and the close look here before
each act.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from towerlog.errors import DiskFull, Overloaded, StorageFailed

REFUSING = frozenset({"storage_failed", "disk_full", "writes_refused"})
"""The obstacles with which nothing is stored."""

_log = structlog.get_logger("towerlog.store")


class Trouble:
    """Its methods may be called from any thread."""

    def __init__(self, when_final: Callable[[StorageFailed], None] = lambda error: None) -> None:
        """All is well. `when_final` is called once, in the thread that has found out."""
        self._when_final = when_final
        self._lock = threading.Lock()
        self.final: StorageFailed | None = None
        """Set for good: nothing more may be written in this process."""
        self.checkpoint: StorageFailed | None = None
        """What the last checkpoint failed with; None after one that did not."""
        self.refused: StorageFailed | Overloaded | None = None
        """What the last commit was refused with, if that passes; None after one that was not."""
        self.failed_checkpoints = 0
        """Checkpoints that have failed, over the life of the store."""

    def end(self, error: StorageFailed) -> None:
        """The storage can be trusted no more. Only the first call does anything."""
        with self._lock:
            if self.final is not None:
                return
            error.fatal = True
            self.final = error
        _log.error("the storage failed; nothing more is written", error=error.message)
        self._when_final(error)

    def refusal(self, final: StorageFailed) -> StorageFailed:
        """What `final`, once it is set, refuses everything with. Whoever writes looks at that first."""
        refused = StorageFailed(final.message, retry_after=1)
        refused.fatal = True
        return refused

    def note_commit(self, refused: StorageFailed | Overloaded | None) -> None:
        """How a commit has ended. Logged when they begin to be refused, and when one is not any more."""
        with self._lock:
            before, self.refused = self.refused, refused
        if refused is not None and before is None:
            _log.error("writes are refused until one succeeds; one is tried each second", error=refused.message)
        elif refused is None and before is not None:
            _log.info("writes are taken again")

    def obstacle(self) -> str | None:
        """What is in the way of writes, in one word; None where nothing is."""
        if self.final is not None:
            return "storage_failed"
        if self.refused is not None:
            return "disk_full" if isinstance(self.refused, DiskFull) else "writes_refused"
        return None if self.checkpoint is None else "checkpoint_failed"

    def note_checkpoint(self, error: StorageFailed | None) -> None:
        """How a checkpoint has ended. One that failed is tried again; logged at the first failure and at its end."""
        with self._lock:
            before, self.checkpoint = self.checkpoint, error
            self.failed_checkpoints += error is not None
        if error is not None and before is None:
            _log.warning("a checkpoint failed; it is tried again", error=error.message)
        elif error is None and before is not None:
            _log.info("checkpoints work again")
