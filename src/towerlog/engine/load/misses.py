"""What placing lacked, of one piece or gathered over several.

Once a piece has lacked something the plan is void, and the group is placed anew when that is loaded. What its pieces
lack is gathered and loaded in one turn, so how often that happens depends on how far one look-up leads to the next, and
not on how many pieces there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from towerlog.engine.load.steps import Steps
from towerlog.errors import without_trace
from towerlog.store.values import Kind

T = TypeVar("T")
MAX_MISSING = 2048
"""So much is gathered, and then loaded: with that the group may have as much to do as one commit should."""
MAX_LOOKED_UP = 16_384
"""Ids that one group looks for in each of several runs: a trace may have many, and a request many spans of it."""
MAX_ALERTS_ASKED = 128
"""Alerts that a group looks up in one turn, but for those of its last event: about as many as a commit opens. Whatever
comes after them is left to a later group, and so is looked up once, however often it waits for its turn."""
MAX_SPANS_ABOVE = 128
"""Spans above one that are looked for, each by what the one below it says."""
_ALERT = Kind.ALERT
ASKED_AT_ONCE = 64
"""Look-ups before the event loop may go on with something else."""


class NotLoaded(Exception):
    """Something was asked for while placing that nobody had said to need. Never leaves the writer."""

    def __init__(self, kind: Kind, key: Any) -> None:
        """What it was."""
        super().__init__(kind, key)
        self.kind = kind
        self.key = key
        self.gathered: list[NotLoaded] | None = None
        """What was missing in all, where that is more than this."""
        self.way: tuple[Callable[..., None], Any] | None = None
        """Who asks for what this leads to, and with what: that is loaded with it."""
        self.looks = 0
        """How many ids that may look up."""

    @property
    def all(self) -> list[NotLoaded]:
        """Itself, and what else was missing."""
        # A list kept in the exception would close a cycle, and with its traceback hold the whole request.
        return [self] if self.gathered is None else self.gathered


class Unloaded(list[NotLoaded]):
    """What the pieces of one placing lack. Each piece is tried in turn, and what it raises is handed to `pass_over`.

    The law: an exception that is met while something is missing is not judged until that is loaded, because what was
    not loaded may be its cause.
    """

    alerts = 0
    """How many of them are alerts."""
    looks = 0
    """How many ids may be looked up by what they lead to."""
    _led: frozenset[Any] = frozenset()
    """Those that lead on."""

    @property
    def is_enough(self) -> bool:
        """Whether the pieces after this one are to be left to a later group."""
        return self.alerts >= MAX_ALERTS_ASKED or self.looks >= MAX_LOOKED_UP

    def pass_over(self, error: Exception) -> bool:
        """Whether the next piece is to be tried after this error; False: whoever has caught it judges it.

        Raises NotLoaded where so much is missing already that it is to be loaded now.
        """
        if isinstance(error, NotLoaded):
            without_trace(error)
            self += error.all
            self.alerts += sum([one.kind is _ALERT for one in error.all])
            for one in error.all:
                if one.looks and one.key not in self._led:
                    self._led |= {one.key}
                    self.looks += one.looks
            if len(self) >= MAX_MISSING:
                raise self.as_one()
        return bool(self)

    def as_one(self) -> NotLoaded:
        """What is to be raised when all pieces were tried and something is missing."""
        first = NotLoaded(self[0].kind, self[0].key)
        first.gathered = self
        return first


def together(asked: Iterable[Callable[[], T]]) -> Steps[list[T]]:
    """What each of these look-ups gives. Raises NotLoaded for all that is missing."""
    missing = Unloaded()
    found: list[T] = []
    for index, ask in enumerate(asked):
        if index and not index % ASKED_AT_ONCE:
            yield
        try:
            found.append(ask())
        except Exception as error:
            if not missing.pass_over(error):
                raise
    if missing:
        raise missing.as_one()
    return found


def all_of(pieces: Iterable[Steps[T]]) -> Steps[list[T]]:
    """The same of pieces that are long themselves, and change the plan."""
    missing = Unloaded()
    found: list[T] = []
    for piece in pieces:
        try:
            found.append((yield from piece))
        except Exception as error:
            if not missing.pass_over(error):
                raise
    if missing:
        raise missing.as_one()
    return found
