"""A failure that is final is told once and refuses everything after it; one that passes is forgotten when it has."""

from __future__ import annotations

import structlog

from towerlog.errors import DiskFull, Overloaded, StorageFailed
from towerlog.store.trouble import Trouble


def test_the_first_final_failure_is_told_once_and_stays() -> None:
    told: list[StorageFailed] = []
    trouble = Trouble(told.append)
    assert trouble.final is None
    first = StorageFailed("the first")
    trouble.end(first)
    trouble.end(StorageFailed("the second"))
    assert told == [first]
    assert trouble.final is first
    refused = [trouble.refusal(first) for _ in range(2)]
    assert [(one.message, one.fatal) for one in refused] == [("the first", True)] * 2
    assert refused[0] is not refused[1], "each caller has an error of its own"


def test_a_checkpoint_that_failed_stops_nothing() -> None:
    trouble = Trouble()
    trouble.note_checkpoint(StorageFailed("no room"))
    trouble.note_checkpoint(StorageFailed("no room"))
    assert trouble.final is None
    assert trouble.checkpoint is not None
    trouble.note_checkpoint(None)
    assert (trouble.checkpoint, trouble.failed_checkpoints) == (None, 2)


def test_what_is_in_the_way_is_what_happened_last() -> None:
    trouble = Trouble()
    assert trouble.obstacle() is None
    trouble.note_checkpoint(StorageFailed("no room"))
    assert trouble.obstacle() == "checkpoint_failed"
    for refused, word in ((DiskFull(), "disk_full"), (Overloaded("held"), "writes_refused")):
        trouble.note_commit(refused)
        assert trouble.obstacle() == word
    trouble.note_commit(None)
    trouble.note_checkpoint(None)
    assert trouble.obstacle() is None
    trouble.end(StorageFailed("a sync"))
    trouble.note_commit(DiskFull())
    assert trouble.obstacle() == "storage_failed"


def test_refused_writes_are_told_when_they_begin_and_when_they_end() -> None:
    trouble = Trouble()
    with structlog.testing.capture_logs() as told:
        for outcome in (None, DiskFull("first"), DiskFull("again"), None, None, DiskFull("second")):
            trouble.note_commit(outcome)
    assert [(one["log_level"], one.get("error")) for one in told] == [
        ("error", "first"),
        ("info", None),
        ("error", "second"),
    ]
