"""Answers that a program has got and has not gone on with: the server gives them again to whoever asks next.

An answer is acknowledged once it is used: one that is acknowledged before is lost with its process, and asked anew. A
server keeps a limited number of others (`model/pending.py`), and refuses more. So a program that asks for more goes on
with those that it has (`sdk/integrations/answer_pages.py`). Only where it can go on with none of them, since all belong
to one thing that is asked, are the oldest let go.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from typing import Any

MAX_KEPT = 32
"""Answers of a run that a server keeps."""
MAX_HELD = 24
"""Answers that are held on where the oldest are let go: others come while these are acknowledged."""
MAX_HELD_BYTES = 40 * 1024
"""Of the texts of held answers, as JSON, while others are waited for. A server takes one more, however long that is,
until 64 KiB wait."""
MAX_LET_GO = 1_000

Command = Mapping[str, Any]


class HeldAnswers:
    """Those of one run, by the keys of their questions. Not for several threads: its inbox has a lock."""

    def __init__(self) -> None:
        """Without any."""
        self._held: dict[str, Command] = {}
        self._let_go: deque[str] = deque(maxlen=MAX_LET_GO)
        self._full: Future[None] = Future()

    def hold(self, key: str, command: Command, asker: Future[Any]) -> None:
        """Holds an answer, and gives it to who waits for it; then it tells that there is no more room, if so."""
        self._held[key] = command
        with contextlib.suppress(InvalidStateError):  # the asker may just have given up
            asker.set_result(command.get("content"))
        if self._is_full():
            full, self._full = self._full, Future()
            full.set_result(None)

    def full(self) -> Future[None]:
        """What is done once a server may refuse one more."""
        if not self._is_full():
            return self._full
        full: Future[None] = Future()
        full.set_result(None)
        return full

    def _is_full(self) -> bool:
        return len(self._held) >= MAX_KEPT or self._size() > MAX_HELD_BYTES

    def let_oldest_go(self) -> list[Command]:
        """The oldest, to be acknowledged though nothing has gone on with them: as many as make room for others."""
        over: list[Command] = []
        while self._held and (len(self._held) > MAX_HELD or self._size() > MAX_HELD_BYTES):
            oldest = next(iter(self._held))
            self._let_go.append(oldest)
            over.append(self._held.pop(oldest))
        return over

    def find(self, key: str) -> Command | None:
        """The answer that is held for a question."""
        return self._held.get(key)

    def release(self, key: str) -> Command | None:
        """Holds it no longer; None for one that is not held."""
        return self._held.pop(key, None)

    def was_let_go(self, key: str) -> bool:
        """Whether the answer to a question was acknowledged for want of room, before it was used."""
        return key in self._let_go

    def _size(self) -> int:
        return sum(len(json.dumps(command.get("content"))) for command in self._held.values())
