"""Answers that a program has got and has not gone on with: the server gives them again to whoever asks next.

An answer is acknowledged once it is used: one that is acknowledged before is lost with its process, and asked anew. A
server keeps a limited number of others (`model/pending.py`), and refuses more. Where a program asks for no more than
that at a time, nothing is acknowledged before all of it is there. Where it asks for more, the oldest are acknowledged
as they come, so that the rest can be answered.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

MAX_KEPT = 32
"""Answers of a run that a server keeps."""
MAX_HELD = 24
"""Answers that are held where more than MAX_KEPT are asked for."""
MAX_HELD_BYTES = 40 * 1024
"""Of the texts of held answers, as JSON, while others are waited for: a server keeps 64 KiB, and more has to fit."""
MAX_LET_GO = 1_000

Command = Mapping[str, Any]


class HeldAnswers:
    """Those of one run, by the keys of their questions. Not for several threads: its inbox has a lock."""

    def __init__(self) -> None:
        """Without any."""
        self._held: dict[str, Command] = {}
        self._let_go: deque[str] = deque(maxlen=MAX_LET_GO)

    def hold(self, key: str, command: Command, waited_for: int) -> list[Command]:
        """Holds an answer; those for which there is no room any more, to be acknowledged. `waited_for`: how many others
        are to be held and have not come."""
        self._held[key] = command
        over: list[Command] = []
        while waited_for and self._held and not self._fits(waited_for):
            oldest = next(iter(self._held))
            self._let_go.append(oldest)
            over.append(self._held.pop(oldest))
        return over

    def _fits(self, waited_for: int) -> bool:
        is_few = len(self._held) + waited_for <= MAX_KEPT or len(self._held) <= MAX_HELD
        return is_few and sum(map(_size, self._held.values())) <= MAX_HELD_BYTES

    def find(self, key: str) -> Command | None:
        """The answer that is held for a question."""
        return self._held.get(key)

    def release(self, key: str) -> Command | None:
        """Holds it no longer; None for one that is not held."""
        return self._held.pop(key, None)

    def was_let_go(self, key: str) -> bool:
        """Whether the answer to a question was acknowledged for want of room, before it was used."""
        return key in self._let_go


def _size(command: Command) -> int:
    return len(json.dumps(command.get("content")))
