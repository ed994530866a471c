"""Which test files begin first when several processes share the work: those that take longest."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LONGEST = (
    "tests/examples/test_demo.py",
    "tests/docs/test_docs.py",
    # In parts: as one text it would look like a path of one machine.
    str(Path("tests", "sdk", "work", "test_worker.py")),
    "tests/acceptance/test_loop_blocks.py",
    "tests/test_law.py",
    "tests/acceptance/test_hostile_connections.py",
    "tests/acceptance/test_bounds_in_bytes.py",
    "tests/acceptance/test_worker_runs.py",
    "tests/simulation/test_simulation.py",
    "tests/acceptance/test_openapi_fuzz.py",
    "tests/faults/test_planted.py",
    "tests/simulation/test_money.py",
    "tests/acceptance/test_limits.py",
    "tests/acceptance/test_too_much.py",
    "tests/tidy/test_tree.py",
    "tests/acceptance/test_live.py",
    "tests/bench/test_neighbours.py",
    "tests/acceptance/test_audit.py",
    "tests/acceptance/test_lanes_leases.py",
    "tests/sdk/record/test_recorder.py",
    "tests/bench/test_governed.py",
    "tests/acceptance/test_streams.py",
    "tests/faults/test_placed_kills.py",
    "tests/sdk/test_strangers.py",
    "tests/acceptance/test_cli.py",
    "tests/acceptance/test_body_fuzz.py",
    "tests/acceptance/test_telling_http.py",
    "tests/acceptance/test_sdk_reporting.py",
    "tests/acceptance/test_idempotency_lost_bodies.py",
    "tests/acceptance/test_tenancy_matrix.py",
    "tests/faults/test_failing_disk.py",
    "tests/acceptance/test_kill.py",
    "tests/faults/test_failing_calls.py",
    "tests/faults/test_full_disk.py",
    "tests/simulation/test_telemetry.py",
    "tests/engine/follow/test_ring.py",
    "tests/engine/control/test_rights.py",
    "tests/dialects/test_fields.py",
    "tests/dialects/native/test_personas.py",
    "tests/asgi/test_gate.py",
    "tests/asgi/pages/test_openapi.py",
    "tests/model/test_spending.py",
    "tests/projections/test_rebuild.py",
    "tests/support/test_progress.py",
    "tests/tidy/test_walk.py",
)
"""Files that take more than a few seconds, longest first. All others follow in their usual order."""


def longest_first(items: list[pytest.Item]) -> None:
    """Sorts tests by their file; those of one file stay together and keep their order."""
    places = {ROOT / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
