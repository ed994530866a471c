"""What a run calls its questions: keys that are the same when the next attempt comes to the same place.

An attempt that begins anew asks again what the lost one had asked. The key tells that it is the same question, so that
an answer given meanwhile finds it, and tells two questions of the same wording apart: it is made of the checkpoint that
the question follows, of the wording, and of how often that was asked since the checkpoint.
"""

from __future__ import annotations

import hashlib
import threading

DIGEST_CHARS = 16


class QuestionKeys:
    """The keys of one attempt. May be used by several threads."""

    def __init__(self) -> None:
        """At the beginning, before any checkpoint."""
        self.after_fork()
        self._step_index = 0
        # As many as were asked; never cleared, since a step index may come twice.
        self._counts: dict[str, int] = {}
        self._moved = False

    def after_fork(self) -> None:
        """In the child of a fork: makes a new lock; a thread that holds the old one exists only in the parent."""
        self._lock = threading.Lock()

    def resumed(self, step_index: int) -> None:
        """The agent has looked at the checkpoint of an earlier attempt, so it goes on from there.

        One that does not look begins at the beginning, whatever was reached before.
        """
        if not self._moved and step_index:
            self.checkpoint(step_index)

    def checkpoint(self, step_index: int) -> None:
        """A checkpoint was made, or is gone on from: what is asked from now on comes after it."""
        with self._lock:
            self._step_index, self._moved = step_index, True

    def key_of(self, question: str) -> str:
        """The key of a question that is asked now; no two of an attempt are the same."""
        digest = hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARS]
        with self._lock:
            asked = f"{self._step_index}.{digest}"
            count = self._counts[asked] = self._counts.get(asked, 0) + 1
            return f"{asked}.{count}"
