"""A well-behaved organisation beside hostile callers: it loses nothing, and the memory of the server is bounded."""

from pathlib import Path

import pytest

from bench.floods import FLOODS
from bench.scenarios import neighbours

SECONDS = 5.0
LONG_SECONDS = 540.0
"""Nearly ten minutes: a test that takes longer is taken for one that hangs."""


@pytest.mark.parametrize("seconds", [SECONDS, pytest.param(LONG_SECONDS, marks=pytest.mark.slow)])
def test_hostile_callers_cost_their_neighbour_neither_events_nor_leases(tmp_path: Path, seconds: float) -> None:
    # A refused or lost event and a lost lease are errors here already.
    _, seen = neighbours.live(tmp_path, seconds)
    assert len(seen.followed_ms) == neighbours.EVENTS_PER_SECOND * seconds
    assert seen.renewed >= neighbours.LEASES * 2
    assert seen.rss_mib <= neighbours.MAX_RSS_MIB
    assert set(seen.attempts) == set(FLOODS)
    assert min(seen.attempts.values()) > 0
