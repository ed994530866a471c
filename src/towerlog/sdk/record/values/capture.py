"""Whether what was said is reported, or only that something was: `TOWERLOG_CAPTURE_CONTENT`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

VARIABLE = "TOWERLOG_CAPTURE_CONTENT"
OFF = frozenset({"off", "false", "no", "0"})
CONTENT: Mapping[str, frozenset[str]] = {
    "tool.call": frozenset({"arguments"}),
    "tool.result": frozenset({"result"}),
    "model.call": frozenset({"messages", "response"}),
}
"""Type → the members of its data that are content."""
ONLY_CONTENT = frozenset({"message.delta"})
"""Types of which nothing is left without it."""


def captures_content() -> bool:
    """Whether content is reported; it is unless the variable says `off`, `false`, `no` or `0`."""
    return os.environ.get(VARIABLE, "").strip().lower() not in OFF


def without_content(event_type: str, data: dict[str, Any]) -> dict[str, Any] | None:
    """The data of an event as metadata; None where the event is content alone."""
    if event_type in ONLY_CONTENT:
        return None
    content = CONTENT.get(event_type)
    if content is None or content.isdisjoint(data):
        return data
    return {name: value for name, value in data.items() if name not in content}
