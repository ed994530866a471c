"""Batches: 100 events of 1 KB a request at 8 connections, through each way in that has batches, against the floor.

The floor's batch touches as many runs as the dialect's does: a runner's batch or an SDK's ten, a push to an agent or
a worker's report one.
"""

from bench.context import Context
from bench.duel import Shape, fight
from bench.figures import Row
from bench.ways import BATCH_WAYS

NAME = "batch"
LENGTH = 100
# A span says how each of its attributes is meant, and is looked through for secrets.
RATE_RATIO_MIN = {"checkpoints": 0.55, "activity": 0.55, "lanes": 0.55, "sdk": 0.55, "otlp": 0.4}
MAX_P99_RATIO = 2.0


def measure(context: Context) -> list[Row]:
    """All ways, one after the other, each in turns with the floor."""
    rows: list[Row] = []
    for way in BATCH_WAYS:
        if context.way not in (None, way.name):
            continue
        shape = Shape(connections=8, length=LENGTH, runs=way.runs_per_batch, size=1024)
        duel = fight(context, way, shape, f"batch-{way.name}")
        floor_rate, our_rate = duel.medians(lambda r: r.events_per_second)
        floor_p99, our_p99 = duel.medians(lambda r: r.p99_ms)
        rows.append(
            Row(
                NAME,
                f"batches of {LENGTH}, {way.name}",
                "events/s",
                our_rate,
                floor_rate,
                compares="ratio",
                bound="at least",
                threshold=RATE_RATIO_MIN[way.name],
                detail=duel.detail(),
            )
        )
        rows.append(
            Row(
                NAME,
                f"batches of {LENGTH}, {way.name}: p99",
                "ms",
                our_p99,
                floor_p99,
                compares="ratio",
                bound="at most",
                threshold=MAX_P99_RATIO,
            )
        )
    return rows
