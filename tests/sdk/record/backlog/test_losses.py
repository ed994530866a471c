"""Losses: counted exactly, told as ranges, bounded."""

import pytest

from towerlog.sdk.record.backlog import losses
from towerlog.sdk.record.backlog.losses import Losses, Range
from towerlog.sdk.record.encoder import place_of


def test_numbers_that_follow_each_other_are_one_range() -> None:
    found = Losses()
    for seq in (1, 2, 3, 7, 8):
        found.note("c", "r", seq, "no room")
    found.note("c", "other", 9, "no room")
    assert found.take() == [
        Range("c", "r", 1, 3, "no room"),
        Range("c", "r", 7, 8, "no room"),
        Range("c", "other", 9, 9, "no room"),
    ]
    assert (found.dropped, bool(found), found.take()) == (6, False, [])


def test_encoded_events_are_found_and_damaged_ones_only_counted() -> None:
    found = Losses()
    found.note_lines("c", [b'{"run_key":"r","client_seq":4,"type":"step"}', b"", b'{"run_key":"r"'], "no room")
    assert (found.take(), found.dropped) == ([Range("c", "r", 4, 4, "no room")], 3)


def test_a_notice_of_loss_is_no_loss() -> None:
    line = b'{"run_key":"r","client_seq":4,"type":"other","data":{"name":"client.dropped"}}'
    assert place_of(line) == ("r", 4, True)
    found = Losses()
    found.note_lines("c", [line], "refused")
    assert (found.dropped, bool(found)) == (0, False)


def test_past_the_bound_losses_are_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "MAX_RANGES", 2)
    found = Losses()
    for seq in (1, 3, 5, 7):
        found.note("c", "r", seq, "no room")
    assert (found.dropped, len(found.take())) == (4, 2)
