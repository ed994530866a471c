"""The room on a disk: how much writes leave free, and that the file system is not asked for each of them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.fakes import FakeClock
from towerlog.errors import DiskFull
from towerlog.store.space import AUTOMATIC, LOOK_EACH_MS, MIB, Space, check_room, guard_bytes


@pytest.mark.parametrize(
    ("guard_mib", "disk_mib", "expected_mib"),
    [(AUTOMATIC, 1000, 256), (AUTOMATIC, 100_000, 5000), (17, 100_000, 17), (7, 100_000, 16), (0, 100_000, 16)],
)
def test_a_setting_counts_alone_and_else_the_larger_bound(guard_mib: int, disk_mib: int, expected_mib: int) -> None:
    assert guard_bytes(guard_mib, disk_mib * MIB) == expected_mib * MIB


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One for each look at the disk, of which 20 MiB are free."""
    looks: list[int] = []

    def statvfs(path: Path) -> SimpleNamespace:
        looks.append(1)
        return SimpleNamespace(f_bavail=20 * MIB >> 12, f_frsize=4096, f_blocks=1000 * MIB >> 12)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return looks


def test_it_is_low_below_the_guard(asked: list[int], tmp_path: Path) -> None:
    clock = FakeClock()
    assert Space(tmp_path, clock.steady_ms, 21).is_low()
    assert not Space(tmp_path, clock.steady_ms, 20).is_low()
    assert Space(tmp_path, clock.steady_ms, AUTOMATIC).is_low()
    assert not Space(tmp_path, clock.steady_ms).is_low()


def test_what_the_log_has_still_to_move_is_taken(asked: list[int], tmp_path: Path) -> None:
    clock, database = FakeClock(), tmp_path / "towerlog.db"
    database.write_bytes(bytes(MIB))
    space = Space(tmp_path, clock.steady_ms, 17, database)
    space.database_bytes = 4 * MIB
    assert (space.is_low(), space.left_bytes()) == (False, 17 * MIB)
    space.database_bytes += 1
    assert not space.was_low
    space.forget()
    assert space.is_low()
    database.write_bytes(bytes(2 * MIB))
    clock.advance(LOOK_EACH_MS)
    assert not space.is_low(), "some of it was moved"


def test_the_disk_is_not_asked_for_each_write(asked: list[int], tmp_path: Path) -> None:
    clock = FakeClock()
    space = Space(tmp_path, clock.steady_ms, 1)
    for _ in range(100):
        space.is_low()
    assert len(asked) == 1
    clock.advance(LOOK_EACH_MS)
    assert not space.is_low()
    assert len(asked) == 2


def test_a_folder_that_is_gone_has_no_room(tmp_path: Path) -> None:
    space = Space(tmp_path / "gone", FakeClock().steady_ms, 1)
    assert space.free_bytes == 0


@pytest.mark.parametrize(("guard_mib", "log_bytes", "is_room"), [(18, 0, True), (19, 0, False), (18, 1, False)])
def test_a_copy_takes_nothing_of_what_writes_leave_free(
    asked: list[int], tmp_path: Path, guard_mib: int, log_bytes: int, is_room: bool
) -> None:
    database = tmp_path / "towerlog.db"
    with database.open("wb") as file:
        file.truncate(2 * MIB)
    log = tmp_path / "towerlog.db-wal"
    if log_bytes:
        log.write_bytes(bytes(log_bytes))
    if is_room:
        check_room(tmp_path, (database, log), guard_mib)
    else:
        with pytest.raises(DiskFull, match="no room for a copy"):
            check_room(tmp_path, (database, log), guard_mib)
        # Of files on another disk, which nobody fills by writing here.
        elsewhere = Path("/proc/version")
        assert elsewhere.stat().st_dev != tmp_path.stat().st_dev
        check_room(tmp_path, (elsewhere,), guard_mib)
