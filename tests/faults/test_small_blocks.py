"""A start on a nearly full disk whose blocks are smaller than a page of memory says so, and is never killed for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.figures import MIB
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server, clean_environment, executable
from towerlog.errors import DiskFull
from towerlog.store.sqlite.upkeep import index_room

STEPS = (0, 32, 48, 80, 96, 112, 128, 192)
"""KiB that are left free."""


@contextmanager
def ext4(folder: Path) -> Iterator[bool]:
    """A disk with blocks of 1 KiB at this folder, where this user may mount one; whether there is."""
    folder.mkdir()
    image = folder.with_suffix(".img")
    image.touch()
    os.truncate(image, 24 * MIB)
    commands = (["mkfs.ext4", "-q", "-m", "0", "-b", "1024", image], ["mount", "-o", "loop", image, folder])
    is_mounted = all(
        shutil.which(one[0]) and not subprocess.run(one, capture_output=True).returncode for one in commands
    )
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", folder], check=True)


def fill_up_to(folder: Path, left_bytes: int) -> None:
    os.sync()
    with (folder / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 1024):
            while (disk := os.statvfs(folder)).f_bavail * disk.f_frsize >= left_bytes + size:
                try:
                    filler.write(bytes(size))
                except OSError:
                    break
                if size == 1024:
                    os.fsync(filler.fileno())


def first_start(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [executable(), "serve", "--port", "0", "--data-dir", str(folder)]
    return subprocess.run(command, env=clean_environment({}), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("left_kib", [16, 64, *(pytest.param(one, marks=pytest.mark.slow) for one in STEPS)])
def test_a_first_start_without_room_for_the_index_says_so(tmp_path: Path, left_kib: int) -> None:
    """Where this user may mount no disk, what is looked at first is held by the test below."""
    with ext4(tmp_path / "small") as is_mounted:
        if is_mounted:
            fill_up_to(tmp_path / "small", left_kib * 1024)
            done = first_start(tmp_path / "small" / "data")
            assert done.returncode in (69, 70), (done.returncode, done.stderr)
            assert "disk" in done.stderr or "No space" in done.stderr


def test_a_start_after_a_power_cut_without_room_for_the_index_says_so(tmp_path: Path) -> None:
    with ext4(tmp_path / "small") as is_mounted:
        server = Server(tmp_path / "small" / "data", {**NO_LIMITS, "TOWERLOG_DISK_GUARD_MIB": "16"})
        server.start()
        assert ingest(server.client(), sdk_event("step", "r", {"text": "x"}, agent_name="a")).status_code == 200
        server.kill()
        (server.data_dir / "towerlog.db-shm").unlink()
        if is_mounted:
            fill_up_to(tmp_path / "small", 16 * 1024)
            done = first_start(server.data_dir)
            assert done.returncode == 70, (done.returncode, done.stderr)
            assert "no room for the index of the write-ahead log" in done.stderr
            (tmp_path / "small" / "filler").unlink()
        server.start()
        assert server.client().get("/api/v1/runs").json()["data"]
        server.stop()
        server.close()


@pytest.mark.parametrize("left_kib", [9, *(pytest.param(one, marks=pytest.mark.slow) for one in (8, 10, 11, 16, 24))])
def test_a_command_that_reads_without_room_for_the_index_says_so(tmp_path: Path, left_kib: int) -> None:
    with ext4(tmp_path / "small") as is_mounted:
        server = Server(tmp_path / "small" / "data", {**NO_LIMITS, "TOWERLOG_DISK_GUARD_MIB": "16"})
        server.start()
        assert ingest(server.client(), sdk_event("step", "r", {"text": "x"}, agent_name="a")).status_code == 200
        server.stop()
        server.close()
        for name in ("-wal", "-shm"):
            server.data_dir.joinpath(f"towerlog.db{name}").unlink(missing_ok=True)
        if is_mounted:
            fill_up_to(tmp_path / "small", left_kib * 1024)
            for command in (["verify"], ["backup", str(tmp_path / "backup.db")]):
                done = subprocess.run(
                    [executable(), *command, "--data-dir", str(server.data_dir)],
                    env=clean_environment({}), capture_output=True, text=True, timeout=60, check=False,
                )  # fmt: skip
                assert done.returncode == 70, (command, done.returncode, done.stderr)
                assert "no room for the index of the write-ahead log" in done.stderr
            (tmp_path / "small" / "filler").unlink()
        assert server.cli("backup", str(tmp_path / "small" / "backup.db")).returncode == 0
        if is_mounted:
            fill_up_to(tmp_path / "small", left_kib * 1024)
            url = f"sqlite:///{tmp_path / 'small' / 'backup.db'}"
            assert server.cli("verify", "--database-url", url).returncode == 0, "a backup needs no index"


def disk(block_bytes: int, free_bytes: int) -> Callable[[object], object]:
    return lambda path: SimpleNamespace(f_frsize=block_bytes, f_bavail=free_bytes // block_bytes)


def test_room_is_looked_for_where_blocks_are_small_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "towerlog.db"
    monkeypatch.setattr(os, "statvfs", disk(4096, 0))
    index_room.check_index_room(database)
    monkeypatch.setattr(os, "statvfs", disk(1024, 64 * 1024))
    index_room.check_index_room(database)
    monkeypatch.setattr(os, "statvfs", disk(1024, 63 * 1024))
    with pytest.raises(DiskFull, match="no room for the index of the write-ahead log"):
        index_room.check_index_room(database)
