"""Measuring gives figures of this disk, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import clean_environment, executable
from towerlog.ambient import SystemClock
from towerlog.cli import measure

HOLDING = """
import sys
from pathlib import Path
from towerlog.cli import measure

with measure.scratch(Path(sys.argv[1])) as folder:
    (folder / "store").mkdir()
    (folder / "store" / "towerlog.db").write_text("x")
    print(folder, flush=True)
    sys.stdin.readline()
"""
"""Says which folder it has, and keeps it until there is a line."""


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


def holding(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    command = [sys.executable, "-c", HOLDING, str(folder)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    return started, Path(started.stdout.readline().rstrip())


def test_what_a_killed_command_has_left_goes_with_the_next_and_nothing_else(tmp_path: Path) -> None:
    of_a_person = tmp_path / "doctor-notes"
    of_a_person.mkdir()
    killed, left = holding(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert (left / "store" / "towerlog.db").exists()
    living, held = holding(tmp_path)
    assert not left.exists()
    with measure.scratch(tmp_path):
        assert (held / "store" / "towerlog.db").exists()
    living.communicate("\n", timeout=60)
    assert list(tmp_path.iterdir()) == [of_a_person]


@pytest.mark.slow
@pytest.mark.parametrize("most", [3, 4, 5, 6, 8, 12, 16])
def test_without_descriptors_nothing_is_left(tmp_path: Path, most: int) -> None:
    line = f"ulimit -n {most}; exec {executable()} doctor --data-dir {tmp_path}"
    done = subprocess.run(["bash", "-c", line], env=clean_environment({}), capture_output=True, text=True, check=False)
    assert done.returncode, done.stdout
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(measure.SCRATCH)], done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("most_kib", [500_000, 800_000])
def test_where_a_server_has_memory_its_doctor_has(tmp_path: Path, most_kib: int) -> None:
    line = f"ulimit -v {most_kib}; exec {executable()} doctor --data-dir {tmp_path}"
    done = subprocess.run(["bash", "-c", line], env=clean_environment({}), capture_output=True, text=True, check=False)
    assert "durable events a second" in done.stdout, done.stdout + done.stderr
