"""A backup and a verify beside a server that is written to hold no write up, however slow they are."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.disk import CHANGES, Faulty, FaultyServer, Load, event_ids
from tests.support.server import clean_environment, executable
from tests.support.wait import wait_until

MIB = 1024 * 1024
STORE_BYTES = 24 * MIB
HELD_BYTES = 2 * MIB
"""See `short_log`: past this the log holds writes up."""
READER_DEADLINE_S = 120.0
COPY = ".partial"
SLOWLY = f"write {COPY} 30 0 -1"
"""Each step of a copy takes 30 ms more, so that the log would be full many times over."""


@contextmanager
def filled(faulty: Faulty) -> Iterator[FaultyServer]:
    """A server with a store that takes a slow reader several seconds."""
    server = faulty("short_log")
    with Load(server, event_bytes=100_000, is_noise=True) as load:
        wait_until(lambda: (server.data_dir / "towerlog.db").stat().st_size > STORE_BYTES, "the store to be filled")
    assert set(load.refused) <= {503}
    yield server


def beside(
    library: Path, server: FaultyServer, folder: Path, *command: str, changes: str = ""
) -> subprocess.Popen[str]:
    """A command beside the server, on a disk that is slow for copies in this folder."""
    rules = server.data_dir.parent / "slow"
    rules.write_text(SLOWLY)
    environment = {
        "LD_PRELOAD": str(library),
        "FAULTY_FILES": f"{folder}/",
        "FAULTY_RULES": str(rules),
        "FAULTY_CHANGES": changes,
        "PYTHONPATH": str(CHANGES),
    }
    return subprocess.Popen(
        [executable(), *command, "--data-dir", str(server.data_dir)],
        env=clean_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def log_bytes(server: FaultyServer) -> int:
    return (server.data_dir / "towerlog.db-wal").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "change"),
    [
        pytest.param("backup", "", id="backup"),
        pytest.param("verify", "", id="verify"),
        pytest.param("backup", "one_snapshot", id="mutant-one-snapshot"),
        pytest.param("verify", "verified_in_place,slow_reader", id="mutant-in-place"),
    ],
)
def test_a_slow_reader_beside_a_load_refuses_no_write(
    faulty: Faulty, library: Path, tmp_path: Path, command: str, change: str
) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    arguments = ("backup", str(folder / "copy.db")) if command == "backup" else ("verify", "--copy-in", str(folder))
    with filled(faulty) as server, Load(server, senders=2, event_bytes=20_000, is_noise=True) as load:
        wait_until(lambda: len(load.acked) > 10, "the load to be on")
        before = set(load.acked)
        reader = beside(library, server, folder, *arguments, changes=change)
        sizes: list[int] = []

        def is_over() -> bool:
            sizes.append(log_bytes(server))
            return reader.poll() is not None or bool(load.refused)

        try:
            wait_until(is_over, "the reader to come to its end", deadline_s=READER_DEADLINE_S)
        finally:
            reader.kill()
            told, wrong = reader.communicate()
    if change:
        assert load.refused, "the rig does not see a snapshot that is kept"
        return
    assert not load.refused
    assert reader.returncode == 0, told + wrong
    assert max(sizes) < HELD_BYTES + 2 * MIB
    assert len(load.acked) > len(before) + 20, "the load went on beside it"
    if command == "backup":
        assert before <= event_ids(folder / "copy.db")
    assert [file.name for file in folder.iterdir()] == (["copy.db"] if command == "backup" else [])


@pytest.mark.slow
def test_a_copy_that_passes_the_log_over_is_refused(faulty: Faulty, library: Path, tmp_path: Path) -> None:
    """What is checked at the end finds a copy whose pages are of different moments."""
    folder = tmp_path / "copies"
    folder.mkdir()
    with filled(faulty) as server, Load(server, senders=2, event_bytes=20_000, is_noise=True) as load:
        wait_until(lambda: len(load.acked) > 10, "the load to be on")
        reader = beside(library, server, folder, "backup", str(folder / "copy.db"), changes="log_passed_over")
        reader.communicate()
    assert reader.returncode
    assert list(folder.iterdir()) == []
