"""A disk that fails is never called a success: the first sync or write that fails ends the process, and loses nothing.

Each law is also held against the defects that it must find, planted in the server's process (`changed`).
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faults.disk import (
    CHANGES,
    DATABASE,
    FOLDER,
    LOG,
    Faulty,
    FaultyServer,
    Load,
    calls,
    event_ids,
    is_refused,
    lost_in_a_cut,
    lost_in_cuts,
)
from tests.support.senders import ingest, sdk_event
from tests.support.server import clean_environment, executable
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


def test_a_log_that_cannot_be_cut_at_the_stop_loses_nothing(faulty: Faulty) -> None:
    server = faulty()
    with Load(server) as load:
        wait_until(lambda: len(load.acked) > ENOUGH, "the load to be on")
    server.fail("truncate .db-wal EIO 0 -1")
    server.stop()  # with 0
    assert "the log could not be cut" in server.log
    assert (server.data_dir / "towerlog.db-wal").stat().st_size
    server.fail()
    server.start()
    server.stop()
    assert load.acked.keys() <= event_ids(server.data_dir / "towerlog.db")


@pytest.mark.parametrize(
    "rule",
    [
        "sync .db-wal EIO 0 1",
        slow("sync .db EIO 0 1"),
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
    said = [json.loads(line)["event"] for line in server.log.splitlines() if line.startswith("{")]
    assert said[-2:] == ["the storage failed; nothing more is written", "the process ends, with the files as they are"]
    assert "a read of the store failed" not in said
    rng = random.Random(1)
    for how in ("none", "prefix", "some", "torn"):
        lost = lost_in_a_cut(server.record, load.acked, server.moment(), tmp_path / how, rng, how)
        assert not lost, f"a power cut after the failure costs {lost} of {len(load.acked)} ({how})"
    server.fail()
    server.start()
    server.stop()
    assert set(load.acked) <= event_ids(server.data_dir / "towerlog.db"), "a restart costs acknowledged events"


@pytest.mark.slow
@pytest.mark.parametrize("errno", ["EIO", "ENOSPC"])
def test_a_log_that_cannot_be_cut_stays_long_and_costs_nothing(faulty: Faulty, errno: str) -> None:
    """Nothing is said with the cut: what is left behind a log that has begun anew belongs to no commit."""
    server = faulty("hurried")
    assert ingest(server.client(), sdk_event("step", "new", {"text": "x"}, event_id="kept", agent_name="b")).is_success
    cut = server.moment()
    server.fail(f"truncate .db-wal {errno} 0 -1")
    assert ingest(server.client(), sdk_event("step", "new", {"text": "x"}, event_id="too", agent_name="b")).is_success
    wait_until(lambda: failed_after(server, cut), "the cut to fail")
    assert ingest(server.client(), sdk_event("step", "new", {"text": "x"}, event_id="after", agent_name="b")).is_success
    server.kill()
    server.fail()
    server.start()
    server.stop()
    assert event_ids(server.data_dir / "towerlog.db") == {"kept", "too", "after"}


@pytest.mark.slow
@pytest.mark.parametrize("errno", ["EIO", "ENOSPC"])
def test_a_log_that_cannot_be_emptied_at_a_stop_is_read_at_the_next_start(faulty: Faulty, errno: str) -> None:
    server = faulty()
    assert ingest(server.client(), sdk_event("step", "new", {"text": "x"}, event_id="kept", agent_name="b")).is_success
    cut = server.moment()
    server.fail(f"truncate .db-wal {errno} 0 -1")
    server._running().send_signal(signal.SIGTERM)
    server.ended()
    assert failed_after(server, cut)
    server.fail()
    server.start()
    server.stop()
    assert event_ids(server.data_dir / "towerlog.db") == {"kept"}


def failed_after(server: FaultyServer, moment: int) -> bool:
    """Whether the log could not be cut since."""
    return any(one.kind == "t" and one.failed and one.ends_at > moment for one in calls(server.record))


def believed_after_a_failure(server: FaultyServer) -> int:
    """How often the process has synced a file, or cut or removed the log, after a sync of that file had failed.

    What another thread was in the middle of comes to its end: one sync of the file, of a group that is then refused.
    """
    failed: dict[str, int] = {}
    in_hand: set[tuple[str, int]] = set()
    count = 0
    for one in calls(server.record):
        if one.kind == "s" and one.failed:
            failed.setdefault(one.name, one.thread)
        elif one.kind == "s" and one.name in failed:
            count += one.thread == failed[one.name] or (one.name, one.thread) in in_hand
            in_hand.add((one.name, one.thread))
        elif one.kind in "tu":
            count += bool(failed) and one.name == LOG
    return count


@pytest.mark.parametrize(
    ("defect", "rule"),
    [
        ("sync_retried", "sync .db-wal EIO 0 1"),
        ("sync_retried,hurried", "sync .db EIO 0 1"),
        ("error_swallowed", "sync .db-wal EIO 0 -1"),
        ("error_swallowed", "write .db-wal EIO 0 -1"),
    ],
)
@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(("defect", "loses"), [("", False), ("log_taken_as_found", True)], ids=["as-it-is", "mutant"])
def test_what_a_failed_sync_has_lost_is_on_disk_before_a_restart_builds_on_it(
    faulty: Faulty, tmp_path: Path, defect: str, loses: bool
) -> None:
    """The group that failed is in the log as a process reads it, and nowhere else: a start must not rely on it."""
    server = faulty("hurried", *filter(None, [defect]))
    with Load(server) as load:
        wait_until(lambda: len(load.acked) > ENOUGH, "the load to be on")
    settled = server.moment()
    wait_until(lambda: emptied_after(server, settled), "the log to be emptied")
    server.fail("sync .db-wal EIO 0 1")
    assert is_refused(server)
    assert server.ended() == 70
    began = server.moment()
    server.fail()
    server.start()
    server.kill()
    done = calls(server.record)
    moments = [one.ends_at for one in done if one.ends_at > began for _ in range(4)]
    lost = lost_in_cuts(done, load.acked, moments, tmp_path / "cuts", random.Random(1))
    assert bool(lost) is loses


def emptied_after(server: FaultyServer, moment: int) -> bool:
    """Whether the log was cut and has its name again: what is written next is a group."""
    done = [(one.kind, one.name) for one in calls(server.record) if one.ends_at > moment]
    if ("t", LOG) not in done:
        return False
    named = done[done.index(("t", LOG)) :]
    moved = [at for at, call in enumerate(named) if call == ("s", DATABASE)]
    # Its name goes into the database by two checkpoints, and then into the log: a header and a page, each with a sync.
    return len(moved) == 2 and named[moved[1] :].count(("s", LOG)) == 2


@pytest.mark.parametrize("cuts", [120, slow(2000)])
def test_a_power_cut_at_any_moment_costs_nothing(faulty: Faulty, tmp_path: Path, cuts: int) -> None:
    server = faulty("hurried")
    assert not lost_by_cuts(server, tmp_path / "cuts", cuts)


@pytest.mark.parametrize("defect", ["synchronous_normal", "synchronous_off", "ack_before_commit"])
@pytest.mark.slow
def test_a_power_cut_finds_what_is_acknowledged_too_early(faulty: Faulty, tmp_path: Path, defect: str) -> None:
    server = faulty(defect)
    # Of a few cuts none may fall between an acknowledgement and its commit, which on a busy machine are soon apart.
    assert lost_by_cuts(server, tmp_path / "cuts", 400), "the rig does not see the defect"


@pytest.mark.parametrize(("rules", "loses"), [((), False), (("forget / EIO 0 -1",), True)], ids=["as-it-is", "mutant"])
@pytest.mark.slow
def test_a_new_store_has_its_name_on_disk_before_anything_is_acknowledged(
    faulty: Faulty, tmp_path: Path, rules: tuple[str, ...], loses: bool
) -> None:
    server = faulty()
    server.stop()
    shutil.rmtree(server.data_dir)
    server.record.unlink()
    server.fail(*rules)
    server.start()
    assert bool(lost_by_cuts(server, tmp_path / "cuts", 20)) is loses


@pytest.mark.parametrize("defect", ["", "folder_not_synced"], ids=["as-it-is", "mutant"])
@pytest.mark.slow
def test_a_backup_is_synced_before_it_has_its_name_and_its_folder_after(
    filled: Path, library: Path, tmp_path: Path, defect: str
) -> None:
    record, folder = tmp_path / "record", tmp_path / "copies"
    folder.mkdir()
    watched = {"FAULTY_FILES": f"{folder}/", "FAULTY_FOLDER": str(folder), "FAULTY_RECORD": str(record)}
    changes = {"LD_PRELOAD": str(library), "PYTHONPATH": str(CHANGES), "FAULTY_CHANGES": defect}
    command = [executable(), "backup", "--data-dir", str(filled.parent), str(folder / "copy.db")]
    subprocess.run(command, env=clean_environment({**watched, **changes}), check=True, capture_output=True)
    done = calls(record)
    [named] = [number for number, one in enumerate(done) if one.kind == "r"]
    assert done[named].data == b"copy.db"
    of_copy = [one.kind for one in done[:named] if one.name == done[named].name]
    assert (of_copy[-1], "w" in of_copy) == ("s", True)
    is_synced = any(one.kind == "s" and one.name == FOLDER for one in done[named:])
    assert is_synced is not bool(defect)


def lost_by_cuts(server: FaultyServer, folder: Path, cuts: int) -> int:
    """What power cuts at so many moments of a load cost, each on its own."""
    folder.mkdir()
    with Load(server) as load:
        wait_until(lambda: len(load.acked) > ENOUGH, "the load to be on")
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
