"""Sessions of Codex: a file of lines, each with a time, a type and a payload. A session is a run, a sub-agent a child.

What was said stands twice in it, as items of the model's conversation and as events for people: the items are imported,
and of the events what people have said and what the models have used. Usage is told as running totals. A session that
was forked from another one begins with what stands in that one's file, written again at the time of the fork.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from towerlog.cli.importers.codex_totals import (
    USAGE_RECORD,
    CodexTotals,
    ToldTokens,
    told_before,
    told_tokens,
)
from towerlog.cli.importers.events import (
    ImportedEvent,
    Json,
    RunReader,
    Values,
    given,
    key_of,
    list_of,
    object_of,
    part_of,
    text_of,
    thread_of,
)
from towerlog.cli.importers.sources import Source
from towerlog.model.times import parse_ms
from towerlog.sdk.wire import json_text

NAME = "codex"
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Item that calls a tool → the member with what it is called with."""
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output"})
_TYPES = frozenset({"session_meta", "turn_context", "response_item", "event_msg", "compacted", USAGE_RECORD})
_ENDS_OF_TURNS = frozenset({"task_complete", "turn_complete", "turn_aborted"})
_BEGINS_OF_TURNS = frozenset({"task_started", "turn_started", "user_message"})
MAX_COPYING_MS = 500
"""Between two lines of a history that is written again. No model has answered that soon."""


def recognizes(value: Any) -> bool:
    """Whether a value is of such a file."""
    entry = object_of(value)
    return entry.get("type") in _TYPES and isinstance(entry.get("payload"), dict)


def read(source: Source, skipped: Callable[[str], None]) -> Iterator[ImportedEvent]:
    """The events of a file. `skipped` is told of entries that say nothing of a run."""
    reader = _Reader(source, _last_copied(source()), _first_model(source()), told_before(source()), skipped)
    for number, value in source():
        yield from reader.entry(number, object_of(value))
    yield from reader.end()


def _parent_of(meta: Json) -> str | None:
    """The session whose sub-agent this one is."""
    return text_of(_spawned(meta).get("parent_thread_id")) or text_of(meta.get("parent_thread_id"))


def _spawned(meta: Json) -> Json:
    return object_of(object_of(object_of(meta.get("source")).get("subagent")).get("thread_spawn"))


def _thread_of(meta: Json) -> str | None:
    """That of the session at the top; None where it is not told: the run stands in its parent's then."""
    parent = _parent_of(meta)
    if parent is None:
        return text_of(meta.get("id"))
    return text_of(meta.get("session_id")) or (parent if _spawned(meta).get("depth") == 1 else None)


def _last_copied(values: Values) -> int:
    """The last line that was copied from another session; 0 where there is none.

    The copy is written in one go, where its lines do not keep their times. The session's own first prompt may stand in
    the same go, so it ends with the last answer there: that of the session's own prompt takes longer.
    """
    own: Json | None = None
    found, is_fork, newest = 0, False, 0
    for number, value in values:
        entry = object_of(value)
        payload, kind, time = object_of(entry.get("payload")), entry.get("type"), _ms(entry.get("timestamp"))
        if own is None:
            own = payload if kind == "session_meta" else {}
            # A sub-agent may begin with its parent's history, and need not say so in a line of its own.
            is_fork = text_of(own.get("forked_from_id")) is not None or _parent_of(own) is not None
        elif kind == "session_meta" and payload.get("id") != own.get("id"):
            found, is_fork = number, True
        elif not is_fork or time is None or time - newest > MAX_COPYING_MS:
            return found
        elif kind == "compacted" or _is_answer(kind, payload):
            found = number
        newest = max(newest, time or 0)
    return found


def _first_model(values: Values) -> str | None:
    """The model that a session names first: a resumed one may tell what was used before it has named any."""
    for _, value in values:
        entry = object_of(value)
        if entry.get("type") == "turn_context" and (named := text_of(object_of(entry.get("payload")).get("model"))):
            return named
    return None


def _is_answer(kind: Any, payload: Json) -> bool:
    """Whether a line is of what came of a prompt."""
    if kind == "response_item":
        return payload.get("type") != "message" or payload.get("role") == "assistant"
    return kind == "event_msg" and (
        object_of(payload.get("info")) != {} or payload.get("type") in {*_ENDS_OF_TURNS, "agent_message"}
    )


def _is_put_out(item: Json) -> bool:
    """Whether an item is of what a model has put out, and not of what it was given."""
    return item.get("type") not in _RESULTS and (item.get("type") != "message" or item.get("role") == "assistant")


def _ms(time: Any) -> int | None:
    try:
        return parse_ms(time) if isinstance(time, str) else None
    except ValueError:
        return None


class _Reader:
    """Entries in, events out."""

    def __init__(
        self,
        source: Source,
        last_copied: int,
        model: str | None,
        before: dict[str, int],
        skipped: Callable[[str], None],
    ) -> None:
        self._source = source
        self._last_copied = last_copied
        self._skipped = skipped
        self._run: RunReader | None = None
        self._meta: Json = {}
        self._model = model
        # Where lines that tell of earlier calls could not be read, what they told counts with the first total.
        self._totals = CodexTotals({} if source.bad_lines else before)
        self._last = ""
        self._at_rest = False
        """Whether the last turn has ended."""
        self._times: Counter[str] = Counter()

    def entry(self, number: int, entry: Json) -> Iterator[ImportedEvent]:
        """The events of one line."""
        kind, payload, time = str(entry.get("type")), object_of(entry.get("payload")), text_of(entry.get("timestamp"))
        # Not by lines: a session may go on in a second file.
        self._times[time or ""] += 1
        entry_id = f"line-{number}" if time is None else f"{time}:{self._times[time]}"
        if kind == "session_meta" and not self._meta:
            self._meta = payload
        elif kind == "turn_context":
            self._model = text_of(payload.get("model")) or self._model
        elif number <= self._last_copied:
            self._skipped("copied from another session")
            told = told_tokens(kind, payload)
            if told is not None:
                self._totals.copied(told)
        elif kind == USAGE_RECORD:
            yield from self._used(entry_id, time, told_tokens(kind, payload))
        elif kind == "event_msg":
            yield from self._event(entry_id, time, str(payload.get("type")), payload)
        elif kind == "response_item":
            if _is_put_out(payload):
                self._totals.answered()
            yield from self._item(entry_id, time, payload)
        else:
            self._skipped(kind)

    def end(self) -> Iterator[ImportedEvent]:
        """The end of the session, if it has one."""
        run = self._run
        if run is None:
            return
        if self._source.is_at_rest() or (self._at_rest and self._source.is_past(run.last_time)):
            yield run.end(run.last_time, result=run.said)
        else:
            yield run.goes_on(self._last)

    def _event(self, entry_id: str, time: str | None, name: str, payload: Json) -> Iterator[ImportedEvent]:
        self._at_rest = name in _ENDS_OF_TURNS or (self._at_rest and name not in _BEGINS_OF_TURNS)
        if name == "user_message":
            yield from self._prompt(entry_id, time, payload)
        elif name == "token_count":
            yield from self._used(entry_id, time, told_tokens("event_msg", payload))
        else:
            self._skipped(f"event_msg/{name}")

    def _begun(self, entry_id: str, time: str | None, prompt: str | None) -> Iterator[ImportedEvent]:
        """The start, before the first event of the run."""
        self._last = entry_id
        if self._run is not None:
            return
        session, parent = text_of(self._meta.get("id")) or "unknown", _parent_of(self._meta)
        agent = NAME if parent is None else f"{NAME}-subagent"
        run = self._run = RunReader(key_of(NAME, session), agent, thread_of(_thread_of(self._meta)))
        metadata = given(
            imported_from=NAME,
            session_id=session,
            forked_from=text_of(self._meta.get("forked_from_id")),
            cwd=text_of(self._meta.get("cwd")),
            git_branch=text_of(object_of(self._meta.get("git")).get("branch")),
            version=text_of(self._meta.get("cli_version")),
        )
        parent_key = None if parent is None else key_of(NAME, parent)
        begun = text_of(self._meta.get("timestamp")) or time
        yield run.start(begun, input=prompt, metadata=metadata, parent_run_key=parent_key)

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

    def _used(self, entry_id: str, time: str | None, told: ToldTokens | None) -> Iterator[ImportedEvent]:
        """What was used since it was told last. Many of these only repeat a total."""
        used = {} if told is None else self._totals.risen(told)
        cached, kept = used.get("cached_input_tokens"), used.get("cache_write_input_tokens")
        reasoning = used.get("reasoning_output_tokens")
        data = given(
            model=self._model,
            provider=text_of(self._meta.get("model_provider")),
            input_tokens=part_of(used.get("input_tokens"), cached, kept),
            cached_input_tokens=cached,
            cache_write_tokens=kept,
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
