"""How many commits commands wait for: the order in which they are taken, whatever the machine takes for a commit."""

from __future__ import annotations

from collections.abc import Iterator

MAX_COUNTED = 16
"""Commits up to which each number has a count of its own."""


class CommitWaits:
    """How many commands have waited for how many commits: those that ended from when one came to its own, which counts
    as well. Of commands that one commit carries out."""

    def __init__(self) -> None:
        """None has waited yet."""
        self.commits = 0
        """Those that have ended: of groups, and of what the engine commits between two of them."""
        self.sum = 0
        """Of what all commands have waited for."""
        self._counts = [0] * (MAX_COUNTED + 2)

    def note(self, waited: int) -> None:
        """One command more has waited for so many."""
        self.sum += waited
        self._counts[min(waited, MAX_COUNTED + 1)] += 1

    def up_to(self) -> Iterator[tuple[int | None, int]]:
        """(so many commits, how many commands have waited for no more), from one on; None for any number."""
        total = self._counts[0]
        for commits in range(1, MAX_COUNTED + 1):
            total += self._counts[commits]
            yield commits, total
        yield None, total + self._counts[MAX_COUNTED + 1]
