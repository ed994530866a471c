"""Wire to canonical and back, pure, one file a dialect. `DIALECTS` is the registry."""

from __future__ import annotations

from towerlog.dialects import activity, checkpoints, lanes, runs, steps
from towerlog.dialects.base import Dialect

DIALECTS: tuple[Dialect, ...] = (
    checkpoints.DIALECT,
    steps.DIALECT,
    activity.DIALECT,
    runs.DIALECT,
    lanes.DIALECT,
)
"""What the server speaks. A sixth is one file and one line here."""
