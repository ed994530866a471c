"""Answers that are remembered, up to a number of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class Memo(dict[Key, Answer], Generic[Key, Answer]):
    """A dictionary that asks for what it does not have. When it is full, the oldest eighth of it is forgotten: what is
    asked for often is soon known again, and a look-up costs no more than that of a dictionary."""

    def __init__(self, maxsize: int, ask: Callable[[Key], Answer]) -> None:
        """`ask` gives the answer to a key."""
        super().__init__()
        self._maxsize = maxsize
        self._ask = ask

    def __missing__(self, key: Key) -> Answer:
        found = self._ask(key)
        if len(self) >= self._maxsize:
            for old in list(self)[: self._maxsize // 8 + 1]:
                del self[old]
        self[key] = found
        return found
