"""Checkpoint rows: what the store keeps of one, and its defaults."""

from __future__ import annotations

import msgspec

from towerlog.model.checkpoint import CheckpointRow, CheckpointView

ROW = CheckpointRow(1, 2, "researcher", 3, "thread", "idle", 4, 5, "node", 6, True, "digest", 7, 8)


def test_a_row_survives_its_storage() -> None:
    revised = msgspec.structs.replace(ROW, revision=2, initial=True)
    for row in (ROW, revised):
        assert msgspec.json.decode(msgspec.json.encode(row), type=CheckpointRow) == row


def test_a_checkpoint_is_its_agents_first_revision_unless_told_otherwise() -> None:
    assert (ROW.revision, ROW.initial) == (1, False)


def test_a_history_without_meta_is_not_one_with_empty_meta() -> None:
    without = CheckpointView(ROW, "run", "trace", b"{}", [], None)
    assert without != msgspec.structs.replace(without, history_meta=[])
