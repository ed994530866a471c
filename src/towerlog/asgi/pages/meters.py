"""What is counted of requests: how many by dialect and status, and how long they took. Cheap, and read at /metrics."""

from __future__ import annotations

from bisect import bisect_left

BUCKETS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 60_000)


class Meter:
    """The requests of one dialect."""

    __slots__ = ("counts", "statuses", "total_ms", "warnings")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_MS) + 1)
        """Requests by duration: up to each of the buckets, and above the last."""
        self.statuses: dict[int, int] = {}
        self.total_ms = 0
        self.warnings = 0
        """Fields that were repaired or could not be used."""

    def add(self, status: int, elapsed_ms: int) -> None:
        """One more request."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.counts[bisect_left(BUCKETS_MS, elapsed_ms)] += 1
        self.total_ms += elapsed_ms


class Meters:
    """One meter for each dialect, and one for what reached none."""

    def __init__(self) -> None:
        """Begins at nothing."""
        self.by_dialect: dict[str, Meter] = {}
        self.out_of_memory = 0
        """Requests that were refused because there was too little memory, or stack, for them."""

    def of(self, dialect: str) -> Meter:
        """The meter of a dialect; the names come from the route table, so there are few."""
        meter = self.by_dialect.get(dialect)
        if meter is None:
            meter = self.by_dialect[dialect] = Meter()
        return meter
