"""The scenarios: owns the table of what the bench can measure, by name, in the order it is run."""

from collections.abc import Callable

from bench.context import Context
from bench.figures import Row
from bench.scenarios import (
    batch,
    claims,
    dashboard,
    disk,
    fanout,
    governed,
    idle,
    idle_workers,
    million,
    neighbours,
    runs,
    screen,
    sdk,
    shared,
    single,
    start,
)

Scenario = Callable[[Context], list[Row]]

SCENARIOS: dict[str, Scenario] = {
    single.NAME: single.measure,
    batch.NAME: batch.measure,
    shared.NAME: shared.measure,
    screen.NAME: screen.measure,
    fanout.NAME: fanout.measure,
    idle.NAME: idle.measure,
    disk.NAME: disk.measure,
    start.NAME: start.measure,
    claims.NAME: claims.measure,
    idle_workers.NAME: idle_workers.measure,
    runs.NAME: runs.measure,
    sdk.NAME: sdk.measure,
    governed.NAME: governed.measure,
    neighbours.NAME: neighbours.measure,
    million.NAME: million.measure,
    dashboard.NAME: dashboard.measure,
}
# What `--floor-only` has any use for.
WITH_FLOOR = (single.NAME, batch.NAME, shared.NAME, start.NAME)
