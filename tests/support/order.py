"""Which test files begin first when several processes share the work: those that take longest."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LONGEST = (
    "tests/docs/test_docs.py",
    "tests/examples/test_demo.py",
    "tests/acceptance/test_loop_blocks.py",
    # In parts: as one text it would look like a path of one machine.
    str(Path("tests", "sdk", "work", "test_worker.py")),
    "tests/acceptance/test_nodes.py",
    "tests/sdk/record/test_recorder.py",
    "tests/acceptance/test_forwarding.py",
    "tests/engine/nodes/test_lines.py",
    "tests/acceptance/test_openapi_fuzz.py",
    "tests/acceptance/test_sign_in.py",
    "tests/acceptance/test_hostile_connections.py",
    "tests/cli/test_maintenance_on_postgres.py",
    "tests/tidy/test_tree.py",
    "tests/sdk/integrations/test_guides.py",
    "tests/acceptance/test_limits.py",
    "tests/sdk/test_strangers.py",
    "tests/faults/test_planted.py",
    "tests/acceptance/test_worker_questions.py",
    "tests/acceptance/test_told_answers.py",
    "tests/acceptance/test_too_much.py",
    "tests/sdk/integrations/openai_agents/test_openai_agents.py",
    "tests/model/test_spending.py",
    "tests/acceptance/test_lanes_leases.py",
    "tests/sdk/record/test_delivery.py",
    str(Path("tests", "sdk", "work", "test_execute.py")),
    "tests/acceptance/test_sdk_reporting.py",
    "tests/acceptance/test_live.py",
    "tests/asgi/http1/test_phases.py",
    "tests/faults/test_stops_within_starts.py",
    "tests/engine/erasure/test_by_size.py",
    "tests/acceptance/test_alerts.py",
    "tests/store/columns/test_moving.py",
    "tests/acceptance/test_alert_floods.py",
    "tests/simulation/test_simulation.py",
    "tests/asgi/test_gate.py",
    "tests/cli/test_clock.py",
    "tests/bench/test_neighbours.py",
    "tests/acceptance/test_retention.py",
    "tests/tidy/test_walk.py",
    "tests/acceptance/test_worker_runs.py",
    "tests/contract/test_read.py",
    "tests/acceptance/test_audit.py",
    "tests/acceptance/test_sign_in_by_provider.py",
    "tests/acceptance/test_streams.py",
    "tests/contract/test_rows.py",
    "tests/cli/test_migrate.py",
    "tests/faults/test_placed_kills.py",
    "tests/cli/importers/test_otlp.py",
    "tests/contract/test_restart.py",
    "tests/acceptance/test_bounds_in_bytes.py",
    "tests/faults/test_failing_calls.py",
    "tests/acceptance/test_otlp_bounds.py",
    "tests/faults/test_starts.py",
    "tests/simulation/test_telemetry.py",
    "tests/engine/timers/forwarding/test_forwarder.py",
    "tests/faults/test_full_disk.py",
    "tests/sdk/record/test_default.py",
    "tests/cli/test_commands.py",
    "tests/acceptance/test_push.py",
    "tests/engine/queries/alerts/test_replay.py",
    "tests/contract/test_append.py",
    "tests/cli/test_tree.py",
    "tests/faults/test_promises.py",
    "tests/clients/test_typescript.py",
)
"""Files that take more than some ten seconds, longest first. All others follow in their usual order."""


def longest_first(items: list[pytest.Item]) -> None:
    """Sorts tests by their file; those of one file stay together and keep their order."""
    places = {ROOT / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
