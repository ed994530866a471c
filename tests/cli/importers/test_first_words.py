"""What a session of Claude Code began with, and how it has come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.importers.samples import entry, of_model, written
from tests.cli.importers.test_formats import of_type, read

NOTE = entry(1, "user", {"role": "user", "content": "<command-name>/clear</command-name>"}, isMeta=True)
HELLO = entry(2, "user", {"role": "user", "content": "hello"})
HI = entry(3, "assistant", of_model("msg_1", {"type": "text", "text": "hi"}))
ERROR = entry(
    4,
    "assistant",
    of_model("msg_2", {"type": "text", "text": "API Error: 529"}, model="<synthetic>"),
    isApiErrorMessage=True,
)


def others(events: list[Any]) -> list[tuple[str, Any]]:
    """What was said beside the model's messages."""
    return [(data["name"], data["payload"]["content"]) for data in of_type(events, "other")]


def test_what_the_program_notes_is_not_what_a_person_said(tmp_path: Path) -> None:
    events = read(written(tmp_path / "s.jsonl", NOTE, HELLO, HI))
    [start] = of_type(events, "run.started")
    assert start["input"] == "hello"
    assert others(events) == [("user.note", NOTE["message"]["content"])]
    assert (events[-1].type, events[-1].data) == ("run.completed", {"result": "hi"})


def test_a_session_of_notes_alone_begins_with_the_first(tmp_path: Path) -> None:
    events = read(written(tmp_path / "s.jsonl", NOTE, HI))
    assert of_type(events, "run.started")[0]["input"] == NOTE["message"]["content"]


def test_a_session_whose_last_word_is_an_error_has_failed(tmp_path: Path) -> None:
    events = read(written(tmp_path / "s.jsonl", HELLO, HI, ERROR))
    assert (events[-1].type, events[-1].data) == ("run.failed", {"error": "API Error: 529"})
    again = entry(5, "assistant", of_model("msg_3", {"type": "text", "text": "after all"}))
    events = read(written(tmp_path / "t.jsonl", HELLO, HI, ERROR, again))
    assert (events[-1].type, events[-1].data) == ("run.completed", {"result": "after all"})
