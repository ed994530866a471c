"""Sessions of Codex: a file of lines, each with a time, a type and a payload. A session is a run.

What was said stands twice in it, as items of the model's conversation and as events for people: the items are imported,
and of the events what people have said and what the models have used. Usage is told as running totals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from towerlog.cli.importers.events import (
    ImportedEvent,
    Json,
    RunReader,
    Values,
    count_of,
    given,
    key_of,
    list_of,
    object_of,
    part_of,
    text_of,
    thread_of,
)
from towerlog.sdk.wire import json_text

NAME = "codex"
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Item that calls a tool → the member with what it is called with."""
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})
_COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "total_tokens")
_TYPES = frozenset({"session_meta", "turn_context", "response_item", "event_msg", "compacted"})


def recognizes(value: Any) -> bool:
    """Whether a value is of such a file."""
    entry = object_of(value)
    return entry.get("type") in _TYPES and isinstance(entry.get("payload"), dict)


def read(values: Callable[[], Values], skipped: Callable[[str], None]) -> Iterator[ImportedEvent]:
    """The events of a file. `skipped` is told of entries that say nothing of a run."""
    reader = _Reader(skipped)
    for number, value in values():
        entry = object_of(value)
        yield from reader.entry(f"line-{number}", str(entry.get("type")), entry)
    yield from reader.end()


class _Reader:
    """Entries in, events out."""

    def __init__(self, skipped: Callable[[str], None]) -> None:
        self._skipped = skipped
        self._run: RunReader | None = None
        self._meta: Json = {}
        self._model: str | None = None
        self._totals: dict[str, int] = {}
        self._last = ""

    def entry(self, entry_id: str, kind: str, entry: Json) -> Iterator[ImportedEvent]:
        """The events of one line."""
        payload, time = object_of(entry.get("payload")), text_of(entry.get("timestamp"))
        if kind == "session_meta" and not self._meta:
            self._meta = payload
        elif kind == "turn_context":
            self._model = text_of(payload.get("model")) or self._model
        elif kind == "event_msg" and payload.get("type") == "user_message":
            yield from self._prompt(entry_id, time, payload)
        elif kind == "event_msg" and payload.get("type") == "token_count":
            yield from self._used(entry_id, time, object_of(payload.get("info")))
        elif kind == "response_item":
            yield from self._item(entry_id, time, payload)
        else:
            self._skipped(f"{kind}/{payload.get('type')}" if kind == "event_msg" else kind)

    def end(self) -> Iterator[ImportedEvent]:
        """The end of the session."""
        run = self._run
        if run is not None:
            yield run.end(f"end:{self._last}", run.last_time, result=run.said)

    def _begun(self, entry_id: str, time: str | None, prompt: str | None) -> Iterator[ImportedEvent]:
        """The start, before the first event of the run."""
        self._last = entry_id
        if self._run is not None:
            return
        session = text_of(self._meta.get("id")) or "unknown"
        run = self._run = RunReader(key_of(NAME, session), NAME, thread_of(session))
        metadata = given(
            imported_from=NAME,
            session_id=session,
            cwd=text_of(self._meta.get("cwd")),
            git_branch=text_of(object_of(self._meta.get("git")).get("branch")),
            version=text_of(self._meta.get("cli_version")),
        )
        yield run.start(text_of(self._meta.get("timestamp")) or time, input=prompt, metadata=metadata)

    def _prompt(self, entry_id: str, time: str | None, payload: Json) -> Iterator[ImportedEvent]:
        text, is_first = text_of(payload.get("message")), self._run is None
        if text is not None:
            yield from self._begun(entry_id, time, text)
            if self._run is not None and not is_first:
                data = {"name": "user.message", "payload": {"content": text}}
                yield self._run.event(entry_id, "other", time, data)

    def _item(self, entry_id: str, time: str | None, item: Json) -> Iterator[ImportedEvent]:
        kind = str(item.get("type"))
        text = _text_of(item)
        is_said = kind in ("message", "reasoning") and text is not None
        if kind == "message" and item.get("role") != "assistant":
            # What people say comes as an event; the rest of these are instructions, long and always the same.
            self._skipped(f"message of {item.get('role')}")
        elif is_said or kind in _CALLS or kind in _RESULTS or kind == "local_shell_call":
            yield from self._begun(entry_id, time, None)
            yield from self._told(entry_id, time, kind, item, text)
        else:
            self._skipped(kind)

    def _told(
        self, entry_id: str, time: str | None, kind: str, item: Json, text: str | None
    ) -> Iterator[ImportedEvent]:
        run, call_id = self._run, text_of(item.get("call_id")) or entry_id
        assert run is not None
        if text is not None:
            channel = "thinking" if kind == "reasoning" else None
            yield run.text(entry_id, time, text, text_of(item.get("id")) or entry_id, channel=channel)
        elif kind in _CALLS:
            arguments = _parsed(item.get(_CALLS[kind]))
            yield run.called(entry_id, time, call_id, text_of(item.get("name")) or "tool", arguments)
        elif kind == "local_shell_call":
            yield run.called(entry_id, time, call_id, "shell", item.get("action"))
        else:
            output, success = _output_of(item.get("output"))
            yield run.answered(entry_id, time, call_id, output, success=success)

    def _used(self, entry_id: str, time: str | None, info: Json) -> Iterator[ImportedEvent]:
        """What was used since it was told last. Many of these only repeat a total."""
        totals = {
            name: count
            for name in _COUNTS
            if (count := count_of(object_of(info.get("total_token_usage")).get(name))) is not None
        }
        if not totals or totals == self._totals:
            return
        used = {name: count - self._totals.get(name, 0) for name, count in totals.items()}
        self._totals = totals
        if any(count < 0 for count in used.values()):
            # The totals have begun anew: what is known is the last call by itself.
            last = object_of(info.get("last_token_usage"))
            used = {name: count for name in _COUNTS if (count := count_of(last.get(name))) is not None}
        cached, reasoning = used.get("cached_input_tokens"), used.get("reasoning_output_tokens")
        data = given(
            model=self._model,
            provider=text_of(self._meta.get("model_provider")),
            input_tokens=part_of(used.get("input_tokens"), cached),
            cached_input_tokens=cached,
            output_tokens=part_of(used.get("output_tokens"), reasoning),
            reasoning_tokens=reasoning,
        )
        if any(used.values()):
            yield from self._begun(entry_id, time, None)
            assert self._run is not None
            yield self._run.event(entry_id, "model.call", time, data)


def _text_of(item: Json) -> str | None:
    """The text of a message or of a summary of thoughts."""
    parts = list_of(item.get("content")) + list_of(item.get("summary"))
    texts = [text for one in parts if (text := text_of(object_of(one).get("text"))) is not None]
    return "\n".join(texts) or None


def _parsed(value: Any) -> Any:
    """Arguments are JSON in a text; what is none stays a text."""
    if not isinstance(value, str):
        return value
    try:
        return json_text.read(value)
    except ValueError:
        return value


def _output_of(value: Any) -> tuple[Any, bool | None]:
    """What a tool has put out, and whether it succeeded, where that is told."""
    told = _parsed(value)
    # A text that happens to be an object is what the tool has put out; with metadata it is how that was wrapped.
    if not isinstance(told, dict) or not (isinstance(value, dict) or "metadata" in told):
        return value, None
    code = object_of(told.get("metadata")).get("exit_code")
    success = told.get("success")
    known = success if isinstance(success, bool) else code == 0 if type(code) is int else None
    for name in ("output", "content"):
        if name in told:
            return told[name], known
    return told, known
