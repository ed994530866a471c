"""Meters: every request in one bucket, every status counted."""

from __future__ import annotations

from towerlog.asgi.pages.meters import BUCKETS_MS, Meters


def test_requests_fall_into_their_buckets() -> None:
    meters = Meters()
    for status, elapsed in [(200, 0), (200, 1), (404, 2), (503, 3), (200, 60_000), (200, 60_001)]:
        meters.of("runs").add(status, elapsed)
    meter = meters.of("runs")
    assert meter.statuses == {200: 4, 404: 1, 503: 1}
    assert meter.total_ms == 120_007
    assert len(meter.counts) == len(BUCKETS_MS) + 1
    assert (meter.counts[0], meter.counts[1], meter.counts[2], meter.counts[-2], meter.counts[-1]) == (2, 1, 1, 1, 1)
    assert meters.of("steps").statuses == {}
