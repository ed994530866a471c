"""Measuring gives figures of this disk, and leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from towerlog.ambient import SystemClock
from towerlog.cli import measure


def test_syncs_are_measured(tmp_path) -> None:
    found = measure.measure_disk(tmp_path, SystemClock())
    assert 0 <= found.fsync_mean_ms <= found.fsync_slowest_ms + 1
    assert (tmp_path / "sync").stat().st_size == measure.SYNCS * measure.SYNC_BYTES


def test_ingest_is_measured_on_a_real_store(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(measure, "INGEST_MS", 50)
    found = asyncio.run(measure.measure_ingest(tmp_path, SystemClock()))
    assert found.events_per_second > 0
    assert found.one_event_mean_ms > 0
    assert (tmp_path / "store" / "towerlog.db").exists()


def test_the_folder_is_gone_afterwards(tmp_path) -> None:
    with measure.scratch(tmp_path) as folder:
        (folder / "x").write_text("x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), measure.scratch(tmp_path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
