"""What placing lacked: `NotLoaded` for one thing, `Missing` for what several pieces of placing lacked.

A group is placed anew each time that something has to be loaded. What its pieces lack is gathered and loaded in one
turn, so how often that happens depends on how far one look-up leads to the next, and not on how many pieces there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, TypeVar

from towerlog.engine.commit.steps import Steps
from towerlog.store.values import Kind

T = TypeVar("T")
MAX_MISSING = 2048
"""So much is gathered, and then loaded: with that the group may have as much to do as one commit should."""
ASKED_AT_ONCE = 64
"""Look-ups before the event loop may go on with something else."""


class NotLoaded(Exception):
    """Something was asked for while placing that nobody had said to need. Never leaves the writer."""

    def __init__(self, kind: Kind, key: Any) -> None:
        """What it was."""
        super().__init__(kind, key)
        self.kind = kind
        self.key = key
        self.all: list[NotLoaded] = [self]
        """Itself, and what else was missing."""


class Missing:
    """Around each of several pieces (`with missing:`), then `check`. Once a piece has lacked something the plan is
    void, and the pieces after it are only tried for what they lack too."""

    def __init__(self) -> None:
        """Nothing so far."""
        self._all: list[NotLoaded] = []

    def __enter__(self) -> None:
        """Before one piece. Raises NotLoaded where so much is missing already that it is to be loaded now."""
        if len(self._all) >= MAX_MISSING:
            self.check()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """After it: whether what it raised is dealt with."""
        if isinstance(error, NotLoaded):
            self._all += error.all
            return True
        # It may be what was not loaded that broke it.
        return bool(self._all) and isinstance(error, Exception)

    def check(self) -> None:
        """Raises NotLoaded for all that was missing."""
        if self._all:
            first = NotLoaded(self._all[0].kind, self._all[0].key)
            first.all = self._all
            raise first


def together(asked: Iterable[Callable[[], T]]) -> Steps[list[T]]:
    """What each of these look-ups gives. Raises NotLoaded for all that is missing."""
    missing, found = Missing(), []
    for index, ask in enumerate(asked):
        if index and not index % ASKED_AT_ONCE:
            yield
        with missing:
            found.append(ask())
    missing.check()
    return found


def all_of(pieces: Iterable[Steps[T]]) -> Steps[list[T]]:
    """The same of pieces that are long themselves."""
    missing, found = Missing(), []
    for piece in pieces:
        with missing:
            found.append((yield from piece))
    missing.check()
    return found
