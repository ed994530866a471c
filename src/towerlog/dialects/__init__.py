"""Wire to canonical and back, pure. `DIALECTS` is the registry of the dialects that the server serves."""

from __future__ import annotations

from towerlog.dialects import steps
from towerlog.dialects.activity import dialect as activity
from towerlog.dialects.base import Dialect
from towerlog.dialects.checkpoints import dialect as checkpoints
from towerlog.dialects.lanes import dialect as lanes
from towerlog.dialects.otlp import dialect as otlp
from towerlog.dialects.runs import dialect as runs

DIALECTS: tuple[Dialect, ...] = (
    checkpoints.DIALECT,
    steps.DIALECT,
    activity.DIALECT,
    runs.DIALECT,
    lanes.DIALECT,
    otlp.DIALECT,
)
"""A further dialect is one file (or folder) and one line here."""
