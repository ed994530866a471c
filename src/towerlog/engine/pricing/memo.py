"""Answers that are remembered, up to so many bytes of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class Memo(dict[Key, Answer], Generic[Key, Answer]):
    """A dictionary that asks for what it does not have. When it is full, the oldest eighth of it is forgotten: what is
    asked for often is soon known again, and a look-up costs no more than that of a dictionary."""

    def __init__(
        self,
        max_bytes: int,
        ask: Callable[[Key], Answer],
        bytes_of: Callable[[Key, Answer], int],
        noted: Callable[[], None],
    ) -> None:
        """`ask` gives the answer to a key, `bytes_of` what both take, about. `noted` is called with each question."""
        super().__init__()
        self._max_bytes = max_bytes
        self._ask = ask
        self._bytes_of = bytes_of
        self._noted = noted
        self.held_bytes = 0

    def __missing__(self, key: Key) -> Answer:
        self._noted()
        found = self._ask(key)
        size = self._bytes_of(key, found)
        # One that would take the place of many others is asked for again.
        if size <= self._max_bytes // 8:
            if self.held_bytes + size > self._max_bytes:
                for old in list(self)[: len(self) // 8 + 1]:
                    self.held_bytes -= self._bytes_of(old, self.pop(old))
            if self.held_bytes + size <= self._max_bytes:
                self[key] = found
                self.held_bytes += size
        return found
