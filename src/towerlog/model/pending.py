"""Commands that wait in a run's row for their agent, and how much of them the row holds.

A row is written anew with every event of its run, so it has what a command is and not what a person wrote at length: a
text of more than MAX_ROW_TEXT_BYTES stands in the event that made the command alone, and is read there by whoever tells
it to the agent (`engine/control/told_texts.py`).
"""

from __future__ import annotations

import msgspec

MAX_ROW_TEXT_BYTES = 64
"""Of an answer or a message in the row, as JSON."""
MAX_MESSAGES = 15
"""Messages that may wait for their agent."""
MAX_ANSWERS = 32
"""Answers to what the last attempt asks that may wait for it; and so many answers that earlier attempts have left."""
MAX_PENDING_BYTES = 64 * 1024
"""Of the texts of all messages that wait, as JSON. Of the answers to what the last attempt asks, one more is taken
while those that wait have less."""
MAX_LEFT_BYTES = 2 * MAX_PENDING_BYTES
"""Of the texts of all answers that earlier attempts have left: one more is taken while they have less."""
WITH_CONTENT = frozenset({"input", "message"})
"""Types of commands whose content is what a person has written."""


class Pending(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A command that the run's agent has not acknowledged yet."""

    command_id: int
    """The seq of the event that made it."""
    type: str
    """`cancel`, `input` (the answer to a question), `message`, `pause` or `resume`."""
    content: str | None = None
    """The answer or the message, None where it stands in its event alone; of the others the reason, if there is one."""
    delivered: bool = False
    """True once a reply to the agent has carried it."""
    question_id: int | None = None
    """Of an `input`: the question that it answers."""
    question_key: str | None = None
    """Of an `input`: the key that the agent gave that question."""
    expired: bool = False
    """Of an `input`: nobody has answered in time, and its `content` is no person's."""
    budget_id: str | None = None  # of a `pause`: the budget that asks for it
    text_bytes: int = 0
    """How long the text is that stands in the event alone, as JSON; 0 for one that stands here."""

    def is_beside(self) -> bool:
        """Whether its text stands in its event alone."""
        return self.content is None and self.type in WITH_CONTENT

    def size(self) -> int:
        """How long its text is as JSON, wherever that stands."""
        return self.text_bytes or (0 if self.content is None else text_bytes(self.content))

    def short(self) -> Pending:
        """As it stands in the row: without a text that is too long for that."""
        if self.content is None or self.type not in WITH_CONTENT or self.size() <= MAX_ROW_TEXT_BYTES:
            return self
        return msgspec.structs.replace(self, content=None, text_bytes=self.size())


def text_bytes(text: str) -> int:
    """How many bytes a text takes as a JSON string without its quotation marks: a control character takes six."""
    return len(msgspec.json.encode(text)) - 2
