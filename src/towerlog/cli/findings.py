"""What `verify` finds, and `backup`, `restore` and `migrate`, which check as it does: told in words, and counted."""

from __future__ import annotations

from towerlog.cli.formatting import counted
from towerlog.cli.output import note

MAX_SHOWN = 50
"""Differences that are printed; the rest is counted."""


class Findings:
    """Differences that `verify` has found: the first ones in words, told at once, and how many."""

    def __init__(self, *, is_held: bool = False) -> None:
        """Nothing yet. `is_held`: none is told before another one takes them all."""
        self._is_held = is_held
        self.count = 0
        self.shown: list[str] = []
        self.outdated: dict[str, int] = {}
        """Of each organisation how many rows a version before this has folded in another way."""

    def report(self, difference: str) -> None:
        """Adds a difference, and prints it on standard error: what takes long has said by then what it has found."""
        self.count += 1
        if len(self.shown) < MAX_SHOWN:
            self.shown.append(difference)
            if not self._is_held:
                note(difference)

    def take(self, held: Findings) -> None:
        """Adds all that was held, and prints it."""
        unshown = held.count - len(held.shown)
        for difference in held.shown:
            self.report(difference)
        self.count += unshown
        for org, rows in held.outdated.items():
            self.outdated[org] = self.outdated.get(org, 0) + rows

    def report_outdated(self, org: str) -> None:
        """One more row of the organisation that a version before this has folded in another way."""
        self.outdated[org] = self.outdated.get(org, 0) + 1

    def end(self) -> None:
        """Prints how many were not shown, and which rows are outdated."""
        if self.count > len(self.shown):
            note(f"… and {self.count - len(self.shown)} more.")
        for org, rows in self.outdated.items():
            note(
                f"{org}: {counted(rows, 'row')} folded by a version before this, not damaged. `towerlog rebuild`,"
                " with the server stopped, folds them anew."
            )
