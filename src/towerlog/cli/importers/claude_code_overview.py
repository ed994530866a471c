"""What is known of a session file of Claude Code once it was read to its end.

Which lines are of one response of the model and which of these has its whole usage; which lines only repeat others of
the file, as a program writes them that appends a history anew; what was said first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from towerlog.cli.importers.events import Json, Values, count_of, list_of, object_of, text_of

_OF_INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
Asked = tuple[str | None, tuple[int | None, ...]]
"""The id of a request, and the tokens of its input."""
Chain = tuple[str | None, str | None, bool]
"""Session, agent and whether it is a side chain."""


@dataclass(frozen=True)
class Overview:
    """What stands where in a file."""

    responses: dict[int, str] = field(default_factory=dict)
    """Line with a part of a message of the model → the response that it is of: the id of its message, and what tells
    it from others where a gateway gives several one id."""
    shared: set[str] = field(default_factory=set)
    """Ids of messages that several responses have."""
    last_lines: dict[str, int] = field(default_factory=dict)
    """Response → the line that has its whole usage: the last one with a part of it."""
    newest: dict[Chain, str] = field(default_factory=dict)
    """The response that came last there."""
    prompts: dict[Chain, tuple[int, str]] = field(default_factory=dict)
    """Line and text of what a person, or whoever began a sub-agent, said first there."""
    repeated: set[int] = field(default_factory=set)
    """Lines whose entry stands further up in the file."""


def overview_of(values: Values) -> Overview:
    """Reads a file to its end."""
    reader = _Overviewer()
    for number, value in values:
        reader.entry(number, object_of(value))
    return reader.found


class _Response:
    """A response of the model whose parts may still come."""

    def __init__(self, name: str, asked: Asked) -> None:
        """`asked`: by what it was asked, as far as that is told."""
        self.name, self._asked = name, asked
        self._is_over = self._is_answered = False

    def note(self, entry: Json) -> None:
        """A line of a user after a part of it: what a person says ends it, results of its tools may stand between."""
        is_said = text_in(object_of(entry.get("message")).get("content")) is not None and not entry.get("isMeta")
        self._is_over = self._is_over or is_said
        self._is_answered = True

    def goes_on(self, asked: Asked) -> bool:
        """Whether a further part under its id is of it: of the same request, which has one input."""
        if self._is_over or (None not in (self._asked[0], asked[0]) and self._asked[0] != asked[0]):
            return False
        return not self._is_answered or self._asked[1] == asked[1]


class _Overviewer:
    """Entries in, an overview out."""

    def __init__(self) -> None:
        self.found = Overview()
        self._open: dict[tuple[Chain, str], _Response] = {}
        """The response that has had an id last."""
        self._entries: dict[tuple[Any, ...], int] = {}
        """Entry → the most output that a line of it tells, in tokens."""
        self._known: dict[tuple[Any, ...], str] = {}
        """What a part of a response has in common with the same part written again → the response."""
        self._most: dict[str, int] = {}
        """Response → the most output that a part of it tells, in tokens."""

    def entry(self, number: int, entry: Json) -> None:
        """One line."""
        message = object_of(entry.get("message"))
        message_id, kind = text_of(message.get("id")), entry.get("type")
        output = count_of(object_of(message.get("usage")).get("output_tokens")) or 0
        if self._is_repeated(entry, message_id, output):
            self.found.repeated.add(number)
        elif kind == "assistant" and message_id is not None:
            self._note_response(number, entry, message_id, output)
        elif kind == "user":
            for place, response in self._open.items():
                if place[0] == chain_of(entry):
                    response.note(entry)
            said = text_in(message.get("content"))
            if said is not None and not entry.get("isMeta"):
                self.found.prompts.setdefault(chain_of(entry), (number, said))

    def _is_repeated(self, entry: Json, message_id: str | None, output: int) -> bool:
        """Whether the entry stands further up. One that tells of more output than there has grown."""
        entry_id = text_of(entry.get("uuid"))
        if entry_id is None:
            return False
        name = (text_of(entry.get("sessionId")), entry_id, message_id)
        before = self._entries.get(name, -1)
        self._entries[name] = max(output, before)
        return output <= before

    def _note_response(self, number: int, entry: Json, message_id: str, output: int) -> None:
        usage, place = object_of(object_of(entry.get("message")).get("usage")), (chain_of(entry), message_id)
        asked = (text_of(entry.get("requestId")), tuple(count_of(usage.get(name)) for name in _OF_INPUT))
        # A request has one response, and its figures come once: not those of a gateway that names all requests alike.
        answer = (place, asked[0] or text_of(entry.get("timestamp")), asked[1], output)
        written = (place, text_of(entry.get("uuid")))
        response = self._open.get(place)
        if response is not None and response.goes_on(asked):
            name, least = response.name, self._most[response.name]
        elif (known := self._known.get(written) or self._known.get(answer)) is not None:
            name, least = known, self._most[known] + 1  # what only repeats its figures stays where it was told first
        else:
            name, least = self._begun(number, entry, message_id, asked), 0
        self._known[answer] = name
        if written[1] is not None:
            self._known[written] = name
        self.found.responses[number] = name
        if output >= least:
            self.found.last_lines[name], self._most[name] = number, output

    def _begun(self, number: int, entry: Json, message_id: str, asked: Asked) -> str:
        """The name of a response, of which this is the first part."""
        place, name = (chain_of(entry), message_id), message_id
        if place in self._open:
            self.found.shared.add(message_id)
            name = f"{message_id}:{text_of(entry.get('uuid')) or number}"
        self._open[place] = _Response(name, asked)
        self.found.newest[place[0]] = name
        return name


def chain_of(entry: Json) -> Chain:
    """Where an entry stands."""
    return text_of(entry.get("sessionId")), text_of(entry.get("agentId")), bool(entry.get("isSidechain"))


def blocks_of(message: Json) -> list[Json]:
    """The parts of a message's content."""
    content = message.get("content")
    return (
        [{"type": "text", "text": content}]
        if isinstance(content, str)
        else [object_of(one) for one in list_of(content)]
    )


def text_in(content: Any) -> str | None:
    """The texts of a message, without results of tools."""
    texts = [
        one["text"] for one in blocks_of({"content": content}) if one.get("type") == "text" and text_of(one.get("text"))
    ]
    return "\n".join(texts) or None
