"""Members that an event has beside its data, under one name whatever its dialect calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEMBERS = (
    "name",
    "tool",
    "arguments",
    "success",
    "error",
    "result",
    "text",
    "thinking",
    "content",
    "question_id",
    "answered_by",
    "written_by",
    "model",
    "step_index",
    "status",
    "total_input_tokens",
    "cached_input_tokens",
    "total_output_tokens",
    "cost_usd",
    "cost_source",
    "price_version",
)
"""What the server says of an event beside its data, under one name whatever its dialect calls it."""
_LONG_MEMBERS = {
    "tool.call": "arguments",
    "tool.result": "result",
    "step": "result",
    "run.completed": "result",
    "run.input": "content",
    "run.message": "content",
}
"""Type of an event → the one of them that it does not repeat where the data has it under that name."""


class EventMembers:
    """Members of an event under one name, whatever its dialect calls them; None for those it does not have."""

    type: str
    data: Any
    raw: Mapping[str, Any]

    @property
    def members(self) -> dict[str, Any]:
        """Those of `MEMBERS` that the event has, by name."""
        found = {}
        long = _LONG_MEMBERS.get(self.type)
        if long is not None and isinstance(self.data, dict):
            value = self.data.get(long)
            # A content that is no text is text beside the data.
            if value is not None and (long != "content" or isinstance(value, str)):
                found[long] = value
        return found | {name: self.raw[name] for name in MEMBERS if self.raw.get(name) is not None}

    @property
    def tool(self) -> str | None:
        """The tool of a call or a result."""
        return _text(self.members.get("tool"))

    @property
    def text(self) -> str | None:
        """What an agent has said, or was told."""
        members = self.members
        return _text(members.get("text", members.get("content")))

    @property
    def result(self) -> Any:
        """The result of a tool, of a step or of the run."""
        return self.members.get("result")

    @property
    def label(self) -> str | None:
        """The name of a step, or of an event of the sender's own type."""
        return _text(self.members.get("name"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
