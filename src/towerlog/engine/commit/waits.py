"""How many commits commands wait for: the order in which they are taken, whatever the machine takes for a commit."""

from __future__ import annotations

from collections.abc import Iterator

MAX_COUNTED = 16
"""Commits up to which each number has a count of its own."""
BEYOND = MAX_COUNTED + 1
"""The place of the count of all others."""


class CommitWaits:
    """How many commands have waited for how many commits: those that ended from when one came to its own, which counts
    as well. Of commands that one commit carries out."""

    def __init__(self) -> None:
        """Starts with no wait counted."""
        self.commits = 0
        """Those that have ended: of groups, and of what the engine commits between two of them."""
        self.counts = [0] * (BEYOND + 1)
        """Of commands, by what they have waited for; the writer counts them itself, which costs it no call."""

    @property
    def sum(self) -> int:
        """Of what all commands have waited for, those beyond the last count as if it were for one commit more."""
        return sum([waited * count for waited, count in enumerate(self.counts)])

    def up_to(self) -> Iterator[tuple[int | None, int]]:
        """(so many commits, how many commands have waited for no more), from one on; None for any number."""
        total = self.counts[0]
        for commits in range(1, MAX_COUNTED + 1):
            total += self.counts[commits]
            yield commits, total
        yield None, total + self.counts[BEYOND]
