"""The same on PostgreSQL: single events at 64 connections, batches of 100; the floor is uvicorn and asyncpg."""

from pathlib import Path

from bench import servers
from bench.context import Context
from bench.database import Database, postgres
from bench.duel import Duel, Shape, fight
from bench.figures import Row
from bench.scenarios.million import EVENT_BYTES, EVENTS_PER_RUN, fill
from bench.ways import BATCH_WAYS, SINGLE_WAYS

NAME = "postgres"
SINGLE_RATIO_MIN, BATCH_RATIO_MIN = 0.5, 0.45
SINGLES = ("steps", "checkpoints")
BATCHES = ("sdk", "checkpoints")


def measure(context: Context) -> list[Row]:
    """Some ways of each kind, one after the other, each in turns with the floor."""
    rows: list[Row] = []
    with context.folder("postgres") as folder, postgres(folder) as database:
        sides = (database.floor, database.towerlog)
        for way in SINGLE_WAYS:
            if way.name in SINGLES and context.way in (None, way.name):
                shape = Shape(connections=64, length=1, runs=1, size=1024)
                duel = fight(context, way, shape, f"postgres-single-{way.name}", sides)
                rows += _rows(duel, f"PostgreSQL: single POST, {way.name}", SINGLE_RATIO_MIN)
        for way in BATCH_WAYS:
            if way.name in BATCHES and context.way in (None, way.name):
                shape = Shape(connections=8, length=100, runs=way.runs_per_batch, size=1024)
                duel = fight(context, way, shape, f"postgres-batch-{way.name}", sides)
                rows += _rows(duel, f"PostgreSQL: batches of 100, {way.name}", BATCH_RATIO_MIN)
        rows.append(_disk(context, database, folder))
    return rows


def _disk(context: Context, database: Database, folder: Path) -> Row:
    """What the database has of each event."""
    events = max(context.effort.stored_events // 10, EVENTS_PER_RUN)
    url = database.fresh()
    empty = database.size(url)
    with servers.towerlog(folder / "filled", "--database-url", url) as server:
        rate = fill(server, folder, events)
        context.say(f"postgres: stored {events:,} events at {rate:,.0f}/s")
        server.stop()
    each = (database.size(url) - empty) / events
    return Row(NAME, f"PostgreSQL: disk of each of {events:,} events, {EVENT_BYTES} B as it was sent", "B", each)


def _rows(duel: Duel, label: str, ratio: float) -> list[Row]:
    floor_rate, our_rate = duel.medians(lambda r: r.events_per_second)
    floor_p99, our_p99 = duel.medians(lambda r: r.p99_ms)
    return [
        Row(
            NAME,
            label,
            "events/s",
            our_rate,
            floor_rate,
            compares="ratio",
            bound="at least",
            threshold=ratio,
            detail=duel.detail(),
        ),
        Row(NAME, f"{label}: p99", "ms", our_p99, floor_p99, compares="ratio"),
    ]
