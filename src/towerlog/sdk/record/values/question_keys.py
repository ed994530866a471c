"""What a run calls its questions: keys that are the same when the next attempt comes to the same place.

An attempt that begins anew asks again what the lost one had asked. The key tells that it is the same question, so that
an answer given meanwhile finds it, and tells two questions of the same wording apart: it is made of the place that the
question follows, of the wording, and of how often that was asked at that place.

A place is a step index that the program gives, else the checkpoints that this attempt has made are counted: from the
step that it goes on from, or from the beginning where it begins there. The index that a checkpoint without one gets on
the wire is no place: it goes on from the lost attempt's, also for a program that does the same once more.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

DIGEST_CHARS = 16


class QuestionKeys:
    """The keys of one attempt. May be used by several threads."""

    def __init__(self) -> None:
        """At the beginning, before any checkpoint."""
        self.after_fork()
        self._place = 0
        # As many as were asked; never cleared, since a step index may come twice.
        self._counts: dict[str, int] = {}
        self._moved = False
        self._resumed: str | None = None
        """Stands for the checkpoint that the agent goes on from, until it makes one: the agent has the lists of that in
        hand, and may change them."""

    def after_fork(self) -> None:
        """In the child of a fork: makes a new lock; a thread that holds the old one exists only in the parent."""
        self._lock = threading.Lock()

    def resumed(self, checkpoint: Mapping[str, Any]) -> None:
        """The agent has looked at the checkpoint of an earlier attempt, so it goes on from there.

        One that does not look begins at the beginning, whatever was reached before.
        """
        if not self._moved:
            self.checkpoint(step_of(checkpoint))
            self._resumed = _digest_of(checkpoint.get("history"), checkpoint.get("state"))

    def goes_on_from(self, history: Sequence[Any], state: Mapping[str, Any] | None) -> bool:
        """Whether this is the checkpoint that the attempt goes on from, as it has made none since: the same place."""
        return self._resumed is not None and self._resumed == _digest_of(history, state)

    def checkpoint(self, step_index: int | None) -> None:
        """A checkpoint was made, with the index that the program gave it: what is asked from now on comes after it."""
        with self._lock:
            self._place = self._place + 1 if step_index is None else step_index
            self._moved, self._resumed = True, None

    def key_of(self, question: str) -> str:
        """The key of a question that is asked now; no two of an attempt are the same."""
        digest = _digest_of_text(question)
        with self._lock:
            asked = f"{self._place}.{digest}"
            count = self._counts[asked] = self._counts.get(asked, 0) + 1
            return f"{asked}.{count}"


def key_at(place: str, question: str, index: int) -> str:
    """The key of a question at a place that a framework names alike in each attempt; `index`: of several there."""
    return f"{_digest_of_text(place)}.{_digest_of_text(question)}.{index}"


def _digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARS]


def _digest_of(history: object, state: object) -> str | None:
    """What stands for a checkpoint; None for one that is no JSON."""
    try:
        text = json.dumps([history, state], sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def step_of(checkpoint: Mapping[str, Any] | None) -> int:
    """The step index of the checkpoint that a run goes on from; 0 without one."""
    taken = checkpoint.get("step_index") if isinstance(checkpoint, dict) else None
    return taken if isinstance(taken, int) else 0
