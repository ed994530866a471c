"""The calls about retention against a real server: set, read, tried, cleared; a run and a thread erased."""

from __future__ import annotations

from pathlib import Path

import pytest

import towerlog
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.sdk.wire.errors import ApiError


def test_policies_and_an_erasure(tmp_path: Path) -> None:
    with Server(tmp_path / "data", NO_LIMITS) as server, towerlog.Client(server.base_url, ADMIN_KEY) as client:
        made = client.set_retention("deltas", max_age_seconds=3600)
        assert (made.kind, made.max_age_seconds, made.max_bytes) == ("deltas", 3600, None)
        assert client.get_retention("deltas") == made
        assert [one.kind for one in client.list_retention()] == ["deltas"]
        assert [(one.kind, one.runs) for one in client.run_retention().data] == [("deltas", 0)]
        assert client.clear_retention("deltas").kind == "deltas"
        assert list(client.list_retention()) == []
        run_id = client.create_run("a thread", metadata={"ticket": "T-1"}).run_id
        with pytest.raises(ApiError) as open_run:
            client.erase_run(run_id)
        assert open_run.value.status == 409
        client.cancel_run(run_id)
        erased = client.erase_run(run_id, children=True)
        assert [one.run_id for one in erased.runs] == [run_id]
        assert {one.kind: one.count for one in erased.runs[0].erased} == {"events": 2, "replies": 1}
        run = client.get_run(run_id)
        assert run.events_erased_at is not None
        assert client.erase_thread("a thread").thread_id == "a thread"
