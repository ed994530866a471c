"""What has gone wrong with writing to a store: a failure that is final, or one that passes when its cause does.

One object a store, shared by its threads. After a sync that failed nobody knows what is on disk: the kernel has marked
the pages as written, and the next sync says that all is well. So the first such failure ends all writing in this
process, checkpoints and the last one at the close included. The writer, the checkpoints and the close look here before
each act.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from towerlog.errors import StorageFailed

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

    def note_checkpoint(self, error: StorageFailed | None) -> None:
        """How a checkpoint has ended. One that failed is tried again; logged at the first failure and at its end."""
        with self._lock:
            before, self.checkpoint = self.checkpoint, error
            self.failed_checkpoints += error is not None
        if error is not None and before is None:
            _log.warning("a checkpoint failed; it is tried again", error=error.message)
        elif error is None and before is not None:
            _log.info("checkpoints work again")
