"""What a model has answered: the text of a `model.call`'s response, and whether pieces of it were told before.

A client that streams tells pieces of text (`message.delta`) and then the call with the whole response. One that does
not tells the call alone.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from towerlog.dialects.views import event_members as members
from towerlog.dialects.views.said import reply_text
from towerlog.model.event import Event, EventType

MAX_MESSAGE_ID_CHARS = 200
"""A longer id of a message or a span is not used."""
MAX_SPANS = 4096
"""Model calls whose text has come in pieces that are remembered, the newest; each with its id."""
THINKING = frozenset({"thinking", "reasoning"})


class _Placed(msgspec.Struct, gc=False):
    """Where an event stands among the spans, and what a model has answered."""

    span_id: Raw = Raw(b"")
    parent_span_id: Raw = Raw(b"")
    channel: Raw = Raw(b"")
    response: Raw = Raw(b"")


_read = msgspec.json.Decoder(_Placed).decode


def word(raw: Raw) -> str:
    """A short text; empty where there is none."""
    return members.plain_text(raw) if members.is_text(raw) and len(raw) <= MAX_MESSAGE_ID_CHARS + 2 else ""


def answer_of(data: bytes) -> str:
    """The text of a model call's response, without thoughts and tool calls; empty where there is none."""
    return reply_text(bytes(_read(data).response))


class ToldAnswers:
    """Which model calls' text has come in pieces, as far as the events of a run were seen."""

    def __init__(self) -> None:
        """Nothing was seen."""
        self.seen = 0
        """Everything up to this seq was seen."""
        self._first: dict[str, int] = {}
        """The span of a call, or an agent whose pieces name none → the seq of its first piece that is remembered."""

    def take(self, event: Event) -> bool:
        """Notes an event, before which all others were noted. Whether it is a call whose text has come before it."""
        self.seen = max(self.seen, event.seq)
        if event.type is EventType.MESSAGE_DELTA:
            self._note(event)
        elif event.type is EventType.MODEL_CALL:
            first = self._first.get(word(_read(event.data).span_id) or _nobody(event))
            return first is not None and first < event.seq
        return False

    def _note(self, event: Event) -> None:
        placed = _read(event.data)
        if word(placed.channel) in THINKING or not members.text_of(event.data):
            return
        call = word(placed.span_id) or word(placed.parent_span_id) or _nobody(event)
        self._first.setdefault(call, event.seq)
        if len(self._first) > MAX_SPANS:
            del self._first[next(iter(self._first))]


def _nobody(event: Event) -> str:
    # No id of a sender begins with a control character.
    return f"\x1f{event.agent}"
