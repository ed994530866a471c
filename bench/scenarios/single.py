"""Single events: one 1 KB event a request at 64 connections, through each way in, against the floor."""

from bench.context import Context
from bench.duel import Duel, Shape, fight
from bench.figures import Row
from bench.ways import SINGLE_WAYS

NAME = "single"
SHAPE = Shape(connections=64, length=1, runs=1, size=1024)
RATE_RATIO_MIN = {"checkpoints": 0.65, "checkpoints-snapshot": 0.4, "steps": 0.65, "activity": 0.6, "lanes": 0.65}
MAX_P99_RATIO = 2.0


def rows_of(duel: Duel, way: str) -> list[Row]:
    """Rate, median and p99 of one way."""
    floor_rate, our_rate = duel.medians(lambda r: r.events_per_second)
    floor_p50, our_p50 = duel.medians(lambda r: r.p50_ms)
    floor_p99, our_p99 = duel.medians(lambda r: r.p99_ms)
    return [
        Row(
            NAME,
            f"single POST, {way}",
            "events/s",
            our_rate,
            floor_rate,
            compares="ratio",
            bound="at least",
            threshold=RATE_RATIO_MIN[way],
            detail=duel.detail(),
        ),
        Row(NAME, f"single POST, {way}: p50", "ms", our_p50, floor_p50, compares="ratio"),
        Row(
            NAME,
            f"single POST, {way}: p99",
            "ms",
            our_p99,
            floor_p99,
            compares="ratio",
            bound="at most",
            threshold=MAX_P99_RATIO,
        ),
    ]


def measure(context: Context) -> list[Row]:
    """All ways, one after the other, each in turns with the floor."""
    rows: list[Row] = []
    for way in SINGLE_WAYS:
        if context.way in (None, way.name):
            rows += rows_of(fight(context, way, SHAPE, f"single-{way.name}"), way.name)
    return rows
