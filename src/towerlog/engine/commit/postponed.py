"""What follows from changes of a plan and is carried out once they are whole: at the end of each item and command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from towerlog.engine.commit.steps import Steps
from towerlog.model.run import RunRow

P = TypeVar("P")


class Postponed(Generic[P]):
    """Actions on rows of runs, each once for all rows that it was postponed with. `P`: the plan that they change."""

    def __init__(self) -> None:
        """None."""
        self._rows: dict[Callable[[P, list[RunRow]], Steps[None]], list[RunRow]] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._rows)

    def add(self, action: Callable[[P, list[RunRow]], Steps[None]], row: RunRow) -> None:
        """One more row."""
        self._rows.setdefault(action, []).append(row)

    def finish(self, plan: P) -> Steps[None]:
        """Carries out all of them, and what they postpone."""
        while self._rows:
            action, rows = self._rows.popitem()
            yield from action(plan, rows)
