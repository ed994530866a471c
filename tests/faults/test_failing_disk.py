"""A disk that fails is never called a success: the first sync or write that fails ends the process, and loses nothing.

Each law is also held against the defects that it must find, planted in the server's process (`changed`).
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.disk import LOG, Faulty, FaultyServer, Load, calls, event_ids, lost_in_a_cut, lost_in_cuts
from tests.support.wait import wait_until
from towerlog.errors import StorageFailed

ENOUGH = 30
"""Acknowledged events before a fault: more than one group, and some from every sender."""


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


def broken(server: FaultyServer, rule: str) -> Load:
    """Loads the server until this fault has ended it; nothing but 200 and 503 was ever answered."""
    with Load(server) as load:
        wait_until(lambda: len(load.acked) > ENOUGH, "the load to be on")
        server.fail(rule)
        code = server.ended()
    assert code == 70, server.log
    assert set(load.refused) <= {503}
    return load


@pytest.mark.parametrize(
    "rule",
    [
        "sync .db-wal EIO 0 1",
        "sync .db EIO 0 1",
        slow("sync .db-wal EIO 3 1"),
        slow("sync .db-wal EIO 20 1"),
        slow("sync .db EIO 1 1"),
        slow("sync .db-wal ENOSPC 0 1"),
        slow("sync .db EDQUOT 0 1"),
        slow("write .db-wal EIO 0 1"),
        slow("write .db-wal EIO 7 1"),
        slow("write .db EIO 0 1"),
        slow("write .db EIO 3 -1"),
    ],
)
def test_the_first_failure_is_the_last(faulty: Faulty, tmp_path: Path, rule: str) -> None:
    server = faulty("hurried")
    load = broken(server, rule)
    assert not believed_after_a_failure(server)
    rng = random.Random(1)
    for how in ("none", "prefix", "some", "torn"):
        lost = lost_in_a_cut(server.record, load.acked, server.moment(), tmp_path / how, rng, how)
        assert not lost, f"a power cut after the failure costs {lost} of {len(load.acked)} ({how})"
    server.fail()
    server.start()
    server.stop()
    assert set(load.acked) <= event_ids(server.data_dir / "towerlog.db"), "a restart costs acknowledged events"


def believed_after_a_failure(server: FaultyServer) -> int:
    """How often the process has synced a file, or cut or removed the log, after a sync of that file had failed."""
    failed: set[str] = set()
    count = 0
    for one in calls(server.record):
        if one.kind == "s" and one.failed:
            failed.add(one.name)
        elif one.kind == "s":
            count += one.name in failed
        elif one.kind in "tu":
            count += bool(failed) and one.name == LOG
    return count


@pytest.mark.parametrize(
    ("defect", "rule"),
    [
        ("sync_retried", "sync .db-wal EIO 0 1"),
        slow("sync_retried,hurried", "sync .db EIO 0 1"),
        slow("error_swallowed", "sync .db-wal EIO 0 -1"),
        slow("error_swallowed", "write .db-wal EIO 0 -1"),
    ],
)
def test_a_failure_that_is_passed_over_is_found(faulty: Faulty, tmp_path: Path, defect: str, rule: str) -> None:
    server = faulty(*defect.split(","))
    with Load(server) as load:
        wait_until(lambda: len(load.acked) > ENOUGH, "the load to be on")
        server.fail(rule)
        before = len(load.acked)
        wait_until(lambda: len(load.acked) > before + 20 or server._running().poll() is not None, "more to be taken")
        if server._running().poll() is None:
            server.kill()
    lost = lost_in_a_cut(server.record, load.acked, server.moment(), tmp_path / "cut", random.Random(1), "none")
    assert lost or believed_after_a_failure(server), "the rig does not see the defect"


@pytest.mark.parametrize(
    ("defect", "loses"), [slow("", False), slow("log_taken_as_found", True)], ids=["as-it-is", "mutant"]
)
def test_what_a_failed_sync_has_lost_is_on_disk_before_a_restart_builds_on_it(
    faulty: Faulty, tmp_path: Path, defect: str, loses: bool
) -> None:
    server = faulty(*filter(None, [defect]))
    broken(server, "sync .db-wal EIO 0 1")
    server.fail()
    server.start()
    with Load(server) as load:
        wait_until(lambda: len(load.acked) > ENOUGH, "the load to be on")
        server.kill()
    lost = lost_in_a_cut(server.record, load.acked, server.moment(), tmp_path / "cut", random.Random(1), "none")
    assert bool(lost) is loses


@pytest.mark.parametrize("cuts", [300, slow(2000)])
def test_a_power_cut_at_any_moment_costs_nothing(faulty: Faulty, tmp_path: Path, cuts: int) -> None:
    server = faulty("hurried")
    assert not lost_by_cuts(server, tmp_path / "cuts", cuts)


@pytest.mark.parametrize("defect", ["synchronous_normal", slow("synchronous_off"), slow("ack_before_commit")])
def test_a_power_cut_finds_what_is_acknowledged_too_early(faulty: Faulty, tmp_path: Path, defect: str) -> None:
    server = faulty(defect)
    assert lost_by_cuts(server, tmp_path / "cuts", 60), "the rig does not see the defect"


def lost_by_cuts(server: FaultyServer, folder: Path, cuts: int) -> int:
    """What power cuts at so many moments of a load cost, each on its own."""
    folder.mkdir()
    with Load(server) as load:
        wait_until(lambda: len(load.acked) > 2 * ENOUGH, "the load to be on")
        server.kill()
    rng = random.Random(cuts)
    done = calls(server.record)
    # Right after each acknowledgement is the moment that counts, and after any call there may be one.
    moments = rng.choices([*load.acked.values()], k=cuts // 2) + [one.ends_at for one in rng.choices(done, k=cuts // 2)]
    return lost_in_cuts(done, load.acked, moments, folder, rng)


def test_an_image_that_is_not_sound_counts_as_lost(tmp_path: Path) -> None:
    (tmp_path / "towerlog.db").write_bytes(b"SQLite format 3\0" + b"\xa5" * 40_000)
    with pytest.raises(StorageFailed):
        event_ids(tmp_path / "towerlog.db")
