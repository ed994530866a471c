"""What AG-UI demands of a stream: events of its own types, in an order that its clients accept."""

from __future__ import annotations

import json
from typing import Any

from ag_ui.core import Event
from pydantic import TypeAdapter

from tests.support.sse import parse_frames

_EVENT: TypeAdapter[Any] = TypeAdapter(Event)
_CHUNKS = {"TEXT_MESSAGE_CHUNK", "REASONING_MESSAGE_CHUNK"}
_PAIRS = {
    "TEXT_MESSAGE": ("START", "CONTENT", "END", "messageId"),
    "TOOL_CALL": ("START", "ARGS", "END", "toolCallId"),
    "STEP": ("STARTED", "", "FINISHED", "stepName"),
}


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each of which AG-UI's own types take, and know in all its members."""
    found = [frame.json for frame in parse_frames(body) if frame.data is not None]
    for one in found:
        typed = _EVENT.validate_json(json.dumps(one))
        assert not typed.model_extra, f"members that AG-UI does not know: {typed.model_extra}"
    return found


def check_order(events: list[dict[str, Any]]) -> None:
    """Fails where the order of events is none that AG-UI allows, for a run that has ended."""
    types = [one["type"] for one in events]
    assert types[0] == "RUN_STARTED", types[:3]
    assert types.count("RUN_STARTED") == 1
    ends = [place for place, kind in enumerate(types) if kind in ("RUN_FINISHED", "RUN_ERROR")]
    assert ends == [len(types) - 1], "there is one end, and it is the last"
    named = {(one["threadId"], one["runId"]) for one in events if "runId" in one}
    assert len(named) == 1, "all boundaries are of one run"
    opened: set[tuple[str, str]] = set()
    for one in events:
        _open_or_close(one, opened)
    assert not opened, f"never closed: {opened}"


def _open_or_close(one: dict[str, Any], opened: set[tuple[str, str]]) -> None:
    if one["type"] in _CHUNKS:
        assert one["messageId"], "a chunk may be the first that its reader gets"
        return
    for kind, (start, middle, end, name) in _PAIRS.items():
        head, _, word = one["type"].rpartition("_")
        if head != kind or word not in (start, middle, end):
            continue
        key = (kind, one[name])
        assert (key in opened) is (word != start), f"{one['type']} of {key[1]}"
        if word == start:
            opened.add(key)
        elif word == end:
            opened.remove(key)


def messages_of(events: list[dict[str, Any]]) -> dict[str, str]:
    """Message → its text, in the order in which the messages began; of tools' results as well."""
    found: dict[str, str] = {}
    for one in events:
        if one["type"] in {"TEXT_MESSAGE_CONTENT", *_CHUNKS}:
            found[one["messageId"]] = found.get(one["messageId"], "") + one["delta"]
        elif one["type"] == "TOOL_CALL_RESULT":
            found[one["messageId"]] = one["content"]
    return found
