"""One flipped bit puts a table out of order: whatever walks through it ends, and says where it did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.rotten import copy_of, fill, mislead
from tests.support.samples import first
from tests.support.senders import checkpoint, runner_event, save_batch
from tests.support.server import NO_LIMITS, Server

WALKED = ("message", "node", "audit_entry")
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database each of whose tables that are walked through has several pages."""
    server = Server(tmp_path_factory.mktemp("grown") / "data", NO_LIMITS)
    try:
        client = server.start().client()
        fill(server)
        history = [{"role": "user", "content": f"question {number} {'y' * 200}"} for number in range(300)]
        save_batch(client, runner_event("thread_started", "long", "trace-2"))
        for step in range(1, 151):
            save_batch(client, checkpoint("long", "trace-2", step, history=history[: 2 * step]))
        for number in range(80):
            assert client.post("/api/v1/keys", json={"name": f"key-{number}", "scopes": ["read"]}).status_code == 201
        server.stop()
    finally:
        server.close()
    return server.data_dir / "towerlog.db"


@pytest.mark.parametrize("table", first(WALKED))
def test_a_walk_that_is_led_back_ends_and_names_the_table_and_the_place(
    grown: Path, tmp_path: Path, table: str
) -> None:
    path = copy_of(grown, tmp_path / "data")
    mislead(path, table)
    command = [sys.executable, "-m", "towerlog", "verify", "--data-dir", str(path.parent), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1, done.stderr
    first, *others = json.loads(done.stdout)["shown"]
    assert first.startswith(f"the database file: table {table}: Tree "), first
    assert "out of order" in first
    assert any(f"the table {table} is out of order: behind key " in one for one in others), others
    assert not any("differs from its rebuild" in one for one in others), "what could not be read is not compared"
    assert done.stderr.splitlines()[0] == first, "what was found is told when it is found"
