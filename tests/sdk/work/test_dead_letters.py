"""What a worker could not report is in a file of its own, and a disk that is full stops nothing."""

from __future__ import annotations

import json

from towerlog.sdk.work import dead_letters as module
from towerlog.sdk.work.dead_letters import DeadLetters, default_folder
from towerlog.sdk.work.outbox import OutboxEvent

EVENT = OutboxEvent(7, "step", b'{"event_id":"e7","type":"step"}')


def test_each_event_is_a_line_with_its_reason(tmp_path) -> None:
    letters = DeadLetters(tmp_path / "new" / "folder", "w-1")
    letters.keep("r1", [EVENT, EVENT], "lease_lost")
    lines = [json.loads(line) for line in letters.path.read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["run_id"] == "r1"
    assert lines[0]["reason"] == "lease_lost"
    assert lines[0]["event"] == {"event_id": "e7", "type": "step"}
    assert letters.path.stat().st_mode & 0o077 == 0


def test_nothing_makes_no_file(tmp_path) -> None:
    letters = DeadLetters(tmp_path, "w-1")
    letters.keep("r1", [], "lease_lost")
    assert not letters.path.exists()


def test_a_disk_that_takes_nothing_is_told_to_the_log(tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("")
    DeadLetters(tmp_path / "file", "w-1").keep("r1", [EVENT], "lease_lost")
    assert "1 events of run r1 are lost" in caplog.text


def test_the_file_is_bounded(tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 200)
    letters = DeadLetters(tmp_path, "w-1")
    for _ in range(5):
        letters.keep("r1", [EVENT], "lease_lost")
    assert letters.path.stat().st_size <= 200
    assert "are lost" in caplog.text


def test_the_folder_is_in_the_state_folder(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "towerlog" / "dead-letters"
