"""The arithmetic of the bench: owns percentiles, medians and the verdict of a row. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Bound = Literal["at least", "at most"]
Verdict = Literal["ok", "short", "info", "failed"]


def percentile(values: Sequence[float], share: float) -> float:
    """The value at `share` (0 to 1) of the sorted values, as loadgen takes it: no interpolation."""
    if not values:
        raise ValueError("no values to take a percentile of")
    ordered = sorted(values)
    return ordered[math.floor((len(ordered) - 1) * share)]


def ratio(measured: Sequence[float], floor: Sequence[float]) -> float:
    """Median of the measured rounds over the median of the floor's."""
    return median(measured) / median(floor)


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, beside the floor where that applies, and what it must reach.

    `towerlog` and `floor` are in `unit`; `against` says what else stands in the place of the floor. With `compares`
    "ratio", `measured` is towerlog over floor; with "value" it is `towerlog` itself. Without `threshold` the row is for
    information.
    """

    scenario: str
    name: str
    unit: str
    towerlog: float | None = None
    floor: float | None = None
    compares: Literal["value", "ratio"] = "value"
    against: str = "floor"
    bound: Bound = "at most"
    threshold: float | None = None
    problem: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> float | None:
        """The figure that is held against the threshold."""
        if self.compares == "value":
            return self.towerlog
        if self.towerlog is None or not self.floor:
            return None
        return self.towerlog / self.floor

    @property
    def verdict(self) -> Verdict:
        """ok or short against the threshold; info without one; failed when there is no figure."""
        if self.problem is not None:
            return "failed"
        if self.threshold is None:
            return "info"
        if self.measured is None:
            return "failed"
        reached = self.measured >= self.threshold if self.bound == "at least" else self.measured <= self.threshold
        return "ok" if reached else "short"

    def as_json(self) -> dict[str, Any]:
        """The row as it stands in results.json."""
        return {
            "scenario": self.scenario,
            "name": self.name,
            "unit": self.unit,
            "towerlog": self.towerlog,
            "floor": self.floor,
            "compares": self.compares,
            "against": self.against,
            "measured": self.measured,
            "bound": self.bound,
            "threshold": self.threshold,
            "verdict": self.verdict,
            "problem": self.problem,
            "detail": self.detail,
        }
