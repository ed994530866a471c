"""What readers of files make: events of the native API, under ids that are the same whenever the file is read again.

Tokens and money are as the file tells them, or left out: nothing is estimated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from towerlog.provider_usage.forms import terms_in
from towerlog.sdk.wire import json_text
from towerlog.sdk.wire.json_text import Figure

MAX_KEY_CHARS = 128
MAX_TEXT_CHARS = 256 * 1024
"""Of a longer text so much is imported: a server takes events of 4 MiB, and a file may have pictures in it."""
MAX_DEPTH = 100
"""A server takes no event that is nested deeper than 128."""
MAX_TOKENS = 2**53

Json = dict[str, Any]
_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class ImportedEvent:
    """An event of a run, by the file's own names and times."""

    run_key: str
    event_id: str
    type: str
    time: str | None
    data: Json
    agent: str | None = None
    thread: str | None = None
    is_end: bool = False


@dataclass
class RunReader:
    """Makes the events of one run."""

    run_key: str
    agent: str
    thread: str | None
    """None: that of its parent."""
    last_time: str | None = None
    said: str | None = None
    """What its agent said last: what a session without a result of its own has come to."""
    tools: dict[str, str] = field(default_factory=dict)
    """Tool call → its tool, of calls without a result."""

    def event(self, event_id: str, kind: str, time: str | None, data: Json, *, is_end: bool = False) -> ImportedEvent:
        """An event of this run. Times of a file are kept as they are, whether or not they rise."""
        self.last_time = time or self.last_time
        return ImportedEvent(self.run_key, key_of(event_id), kind, time, data, self.agent, self.thread, is_end)

    def start(self, time: str | None, **data: Any) -> ImportedEvent:
        """The beginning of the run. What is told of it later, when more is known, is told beside it."""
        members = given(**data)
        event_id = f"start:{_digest_of(self.agent, self.thread, time, members)}"
        return self.event(event_id, "run.started", time, members)

    def text(self, event_id: str, time: str | None, text: str, message_id: str | None, **data: Any) -> ImportedEvent:
        """A whole message of its agent."""
        if data.get("channel") is None:
            self.said = text
        return self.event(event_id, "message.delta", time, given(content=text, message_id=message_id, **data))

    def called(self, event_id: str, time: str | None, call_id: str, tool: str, arguments: Any) -> ImportedEvent:
        """A call of a tool."""
        self.tools[call_id] = tool
        return self.event(
            event_id, "tool.call", time, given(tool=tool[:200], tool_call_id=call_id, arguments=arguments)
        )

    def answered(self, event_id: str, time: str | None, call_id: str, result: Any, **data: Any) -> ImportedEvent:
        """The result of a call."""
        tool = self.tools.pop(call_id, None)
        return self.event(
            event_id, "tool.result", time, given(tool=tool and tool[:200], tool_call_id=call_id, result=result, **data)
        )

    def goes_on(self, last: str) -> ImportedEvent:
        """That the file does not say how the run ends, at its event `last`: until it does, nobody waits for more."""
        data = {"reason": "it was still going on when it was imported"}
        return self.event(f"goes-on:{last}", "run.paused", self.last_time, data, is_end=True)

    def end(self, time: str | None, kind: str = "run.completed", **data: Any) -> ImportedEvent:
        """The end of the run."""
        members = given(**data)
        return self.event(f"end:{_digest_of(kind, time, members)}", kind, time, members, is_end=True)


def given(**members: Any) -> Json:
    """The members that are there."""
    return {name: value for name, value in members.items() if value is not None}


def key_of(*parts: str) -> str:
    """A name of an event or a run that a server takes: that of the file, and its digest where it is no such name."""
    key = ":".join(parts)
    is_fit = 0 < len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable() and " " not in key
    return key if is_fit else _digest(key)


def thread_of(text: Any) -> str | None:
    """A thread's id; None for what is none."""
    if not isinstance(text, str) or not text:
        return None
    is_fit = len(text) <= MAX_KEY_CHARS and text.isprintable() and "/" not in text and text.isascii()
    return text if is_fit and " " not in text else _digest(text)


def text_of(value: Any) -> str | None:
    """A text that is not empty; None for anything else."""
    return value if isinstance(value, str) and value else None


def name_of(value: Any, default: str) -> str:
    """A name for people: of an agent, a tool, a step."""
    text = text_of(value)
    return default if text is None else " ".join(text.split())[:200] or default


def object_of(value: Any) -> Json:
    """An object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """A list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def count_of(value: Any) -> int | None:
    """A count of tokens; None for what is none."""
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def part_of(whole: int | None, *parts: int | None) -> int | None:
    """What is left of a whole without parts that it includes; None where that is unknown, or makes no sense."""
    known = sum(part for part in parts if part is not None)
    return None if whole is None or known > whole else whole - known


def parts_of(usage: Json) -> Json:
    """What the price of a call goes by beside its buckets, but its cost, of whatever form its usage is."""
    return {name: value for name, value in terms_in(usage).items() if name != "cost_usd"}


def dollars_of(value: Any) -> str | None:
    """A sum of money as the text of its number, which a server takes exactly; None for what is none."""
    if type(value) is int:
        return str(value) if value >= 0 else None
    if isinstance(value, Figure):
        return dollars_of(value.text)
    if isinstance(value, float):
        return dollars_of(repr(value))
    return value if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON can say it: long texts cut, and what is nested too deep or is no number as text."""
    if isinstance(value, str):
        return _plain_text(value)
    if isinstance(value, Figure) and (value in (float("inf"), float("-inf"))):
        return value.text
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        if depth > MAX_DEPTH:
            return "… nested deeper than is imported"
        return {_plain_text(str(name)): plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return "… nested deeper than is imported" if depth > MAX_DEPTH else [plain(one, depth + 1) for one in value]
    return value


def _digest_of(*values: Any) -> str:
    return _digest(json_text.write(values))[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _plain_text(text: str) -> str:
    if len(text) > MAX_TEXT_CHARS:
        text = f"{text[:MAX_TEXT_CHARS]}… {len(text) - MAX_TEXT_CHARS} more characters are not imported"
    # Half of a surrogate pair is no character.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


Values = Iterator[tuple[int, Any]]
"""(number of the line, its value) of a file of lines; of any other file (1, its value)."""
