"""Messages of model calls, each told once: an agent sends its whole conversation with every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

MAX_CONVERSATIONS = 100
"""Conversations of a run that are remembered, those of its agents and nodes; of others all is told each time."""


class ToldMessages:
    """What the calls of a run have told of their conversations.

    Messages are compared as objects, which costs next to nothing, and mappings by what they say. Where a framework
    makes objects anew, all are told.
    """

    def __init__(self, plain: Callable[[object], Any]) -> None:
        """`plain`: a message as it is told."""
        self._plain = plain
        self._told: dict[str, tuple[str, Sequence[object]]] = {}
        """Conversation → the span of its last call, and the messages of that."""

    def members(self, conversation: str, span_id: str, messages: Sequence[object]) -> dict[str, Any]:
        """The members of a call: `messages`, and in `messages_after` where those before them stand: the first `count`
        messages of the call `span_id`."""
        last, known = self._told.pop(conversation, ("", ()))
        before = 0
        for old, new in zip(known, messages, strict=False):
            if old is not new and not (type(old) is dict and old == new):
                break
            before += 1
        self._told[conversation] = (span_id, messages)
        while len(self._told) > MAX_CONVERSATIONS:
            self._told.pop(next(iter(self._told)), None)
        after = {"messages_after": {"span_id": last, "count": before}} if before else {}
        return {"messages": [self._plain(message) for message in messages[before:]], **after}
