"""Answers that a program has got and has not gone on with: the server gives them again to whoever asks next.

An answer is acknowledged once it is used. A server keeps a limited number of those that are not (`model/pending.py`),
and refuses more: so that the rest can be answered, the oldest are acknowledged where there are many.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MAX_HELD = 24
"""Answers of a run that are held; a server keeps a few more."""
MAX_HELD_BYTES = 16 * 1024
"""Of the texts of held answers, as JSON."""

Command = Mapping[str, Any]


class HeldAnswers:
    """Those of one run, by the keys of their questions. Not for several threads: its inbox has a lock."""

    def __init__(self) -> None:
        """Without any."""
        self._held: dict[str, Command] = {}

    def hold(self, key: str, command: Command) -> list[Command]:
        """Holds an answer; those for which there is no room any more, to be acknowledged."""
        self._held[key] = command
        over = []
        while len(self._held) > MAX_HELD or sum(map(_size, self._held.values())) > MAX_HELD_BYTES:
            over.append(self._held.pop(next(iter(self._held))))
        return over

    def find(self, key: str) -> Command | None:
        """The answer that is held for a question."""
        return self._held.get(key)

    def release(self, key: str) -> Command | None:
        """Holds it no longer; None for one that is not held."""
        return self._held.pop(key, None)


def _size(command: Command) -> int:
    return len(json.dumps(command.get("content")))
