"""A failure that is final is told once and refuses everything after it; one that passes is forgotten when it has."""

from __future__ import annotations

import pytest

from towerlog.errors import StorageFailed
from towerlog.store.trouble import Trouble


def test_the_first_final_failure_is_told_once_and_stays() -> None:
    told: list[StorageFailed] = []
    trouble = Trouble(told.append)
    trouble.check()
    first = StorageFailed("the first")
    trouble.end(first)
    trouble.end(StorageFailed("the second"))
    assert told == [first]
    for _ in range(2):
        with pytest.raises(StorageFailed, match="the first") as raised:
            trouble.check()
        assert raised.value.fatal


def test_a_checkpoint_that_failed_stops_nothing() -> None:
    trouble = Trouble()
    trouble.note_checkpoint(StorageFailed("no room"))
    trouble.note_checkpoint(StorageFailed("no room"))
    trouble.check()
    assert trouble.checkpoint is not None
    trouble.note_checkpoint(None)
    assert (trouble.checkpoint, trouble.failed_checkpoints) == (None, 2)
