"""Each call to the files of a store, with each error that a disk has for it: what passes does, and what is final is."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.faults.disk import DATABASE, FOLDER, LOG, Faulty, FaultyServer, Load, calls, event_ids
from tests.support.senders import ingest, sdk_event
from tests.support.wait import wait_until
from towerlog.store.sqlite.connections.connection import PAGE_BYTES

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EFBIG")
NO_ROOM = frozenset(ERRORS) - {"EIO"}
ENOUGH = 30
HALF_PAGE = PAGE_BYTES // 2
KINDS = {"write": "w", "fdatasync": "s", "fsync": "s", "truncate": "t", "open": "o"}
"""Call → its letter in the record."""


def passes(call: str, file: str, error: str) -> bool:
    """Whether the server is to go on. A sync that failed has lost what it was for, whatever the error; one that opens
    has lost nothing; a write or a cut for which there was no room is done again. While a server runs, its log is cut
    only behind what counts, where an earlier log has left something: SQLite goes on when it cannot, and tries again."""
    if call == "open" or error == "HALF" or (call, file) == ("truncate", LOG):
        return True
    return call in {"write", "truncate"} and error in NO_ROOM


TABLE = [
    *((call, file, error) for call in ("write", "truncate", "open") for file in (DATABASE, LOG) for error in ERRORS),
    *(("sync", file, error) for file in (DATABASE, LOG) for error in ERRORS),
    *(("write", file, "HALF") for file in (DATABASE, LOG)),
]
QUICK = {("write", LOG, "EDQUOT"), ("sync", LOG, "ENOSPC"), ("open", DATABASE, "EIO")}


@pytest.mark.parametrize(
    ("call", "file", "error"),
    [pytest.param(*row, marks=() if row in QUICK else pytest.mark.slow, id=" ".join(row)) for row in TABLE],
)
def test_each_error_of_each_call_passes_or_is_final(faulty: Faulty, call: str, file: str, error: str) -> None:
    hold(faulty("hurried"), call, file, error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("defect", "call", "file", "error"),
    [
        ("sync_retried", "sync", DATABASE, "EDQUOT"),
        ("sync_retried", "sync", LOG, "EIO"),
        ("no_room_is_final", "write", LOG, "EDQUOT"),
        ("no_room_is_final", "truncate", DATABASE, "EFBIG"),
    ],
)
def test_what_takes_one_for_the_other_is_found(faulty: Faulty, defect: str, call: str, file: str, error: str) -> None:
    server = faulty("hurried", defect)
    with pytest.raises(AssertionError):
        hold(server, call, file, error)


def hold(server: FaultyServer, call: str, file: str, error: str) -> None:
    """Holds the law of one row against a server."""
    process = server.process
    if call != "open":
        # What is opened late is opened for the first checkpoint, and would be before.
        with Load(server) as load:
            wait_until(lambda: len(load.acked) > ENOUGH, "the load to be on")
    else:
        load = Load(server)
    began = server.moment()
    server.fail(f"{call} {file} {error} 0 -1")
    with Load(server) as more:
        wait_until(until(server, more, call, file, error, began), f"{call} of {file} to fail")
    # A log is cut when nobody writes.
    wait_until(lambda: has_failed(server, call, file, error, began), f"{call} of {file} to fail")
    if passes(call, file, error):
        server.fail()
        with Load(server) as after:
            wait_until(lambda: len(after.acked) > ENOUGH, "writes to come back")
        wait_until(lambda: server.client(None).get("/readyz").json()["status"] == "ready", "all to be well again")
        assert server.process is process
        assert set(more.refused) <= ({503} if error != "HALF" else set())
        acked = {**load.acked, **more.acked, **after.acked}
        server.stop()
    else:
        assert server.ended() == 70, server.log
        acked = {**load.acked, **more.acked}
        server.fail()
        server.start()
        server.stop()
    assert set(acked) <= event_ids(server.data_dir / "towerlog.db")


def until(server: FaultyServer, more: Load, call: str, file: str, error: str, began: int) -> Callable[[], bool]:
    """Whether the load has done its part: the call has failed, or comes when nobody writes any more."""
    if (call, file) == ("truncate", LOG):
        return lambda: len(more.acked) > ENOUGH
    return lambda: has_failed(server, call, file, error, began)


def has_failed(server: FaultyServer, call: str, file: str, error: str, began: int) -> bool:
    """Whether the call has failed since, as the record says."""
    kind = "s" if call == "sync" else KINDS[call]
    done = [one for one in calls(server.record) if one.ends_at > began and (one.kind, one.name) == (kind, file)]
    return any(one.size == HALF_PAGE if error == "HALF" else one.failed for one in done)


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("file", [DATABASE, LOG])
def test_a_start_that_cannot_open_a_file_says_so_and_costs_nothing(faulty: Faulty, file: str, error: str) -> None:
    server = faulty()
    event = sdk_event("step", "run", {"text": "x"}, event_id="kept", agent_name="a")
    assert ingest(server.client(), event).is_success
    server.kill()
    server.fail(f"open {file} {error} 0 -1")
    with pytest.raises(AssertionError) as raised:
        server.start()
    assert f"towerlog{DATABASE}" in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert "not an error" not in str(raised.value)
    server.process = None
    server.fail()
    server.start()
    server.stop()
    assert event_ids(server.data_dir / "towerlog.db") == {"kept"}


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", ["sync", "open"])
def test_a_first_start_that_cannot_sync_its_folder_says_so(faulty: Faulty, call: str, error: str) -> None:
    """Nothing is acknowledged on a store whose name may not be on disk."""
    server = faulty()
    server.stop()
    shutil.rmtree(server.data_dir)
    server.data_dir.mkdir(mode=0o700)
    server.fail(f"{call} {FOLDER} {error} 0 -1")
    with pytest.raises(AssertionError, match="before it was ready") as raised:
        server.start()
    assert "Traceback" not in str(raised.value)
    assert "not an error" not in str(raised.value)
    server.process = None
    server.fail()
    server.start()
    server.stop()
