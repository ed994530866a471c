"""Sessions of Claude Code: a file of lines, each an entry of the conversation. A session is a run, a sub-agent a child.

A message of the model takes several lines, which all repeat its usage; the last one has it whole. So a file is read
twice: first where each message ends.
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
    dollars_of,
    given,
    key_of,
    list_of,
    object_of,
    text_of,
    thread_of,
)

NAME = "claude-code"
_SPOKEN = frozenset({"user", "assistant"})
_NO_MODEL = "<synthetic>"
"""The model of messages that the program has written itself."""


def recognizes(value: Any) -> bool:
    """Whether a value is of such a file."""
    entry = object_of(value)
    return "sessionId" in entry and ("uuid" in entry or "type" in entry)


def read(values: Callable[[], Values], skipped: Callable[[str], None]) -> Iterator[ImportedEvent]:
    """The events of a file. `skipped` is told of entries that say nothing of a run."""
    reader = _Reader(_last_lines(values()), skipped)
    for number, value in values():
        yield from reader.entry(number, object_of(value))
    yield from reader.ends()


def _last_lines(values: Values) -> dict[str, int]:
    """Message of the model → the last line that has a part of it."""
    found: dict[str, int] = {}
    for number, value in values:
        entry = object_of(value)
        message_id = text_of(object_of(entry.get("message")).get("id"))
        if entry.get("type") == "assistant" and message_id is not None:
            found[message_id] = number
    return found


class _Reader:
    """Entries in, events out."""

    def __init__(self, last_lines: dict[str, int], skipped: Callable[[str], None]) -> None:
        self._last_lines = last_lines
        self._skipped = skipped
        self._runs: dict[str, RunReader] = {}
        self._roots: dict[str, str] = {}
        """Entry of a side chain → the first entry of that chain."""
        self._last: dict[str, str] = {}
        """Run → its last entry."""

    def entry(self, number: int, entry: Json) -> Iterator[ImportedEvent]:
        """The events of one line."""
        session, kind = text_of(entry.get("sessionId")), entry.get("type")
        if session is None or not (kind in _SPOKEN or kind == "system"):
            self._skipped(str(kind))
            return
        entry_id, time = text_of(entry.get("uuid")) or f"line-{number}", text_of(entry.get("timestamp"))
        run, is_new = self._run_of(session, entry, entry_id)
        if is_new:
            yield self._start(run, entry, time)
        self._last[run.run_key] = entry_id
        message = object_of(entry.get("message"))
        if kind == "assistant":
            yield from self._of_model(run, number, entry_id, time, entry, message)
        elif kind == "user":
            yield from _of_user(run, entry_id, time, entry, message, is_first=is_new)
        else:
            payload = given(subtype=entry.get("subtype"), content=entry.get("content"), level=entry.get("level"))
            yield run.event(entry_id, "other", time, {"name": "system", "payload": payload})

    def ends(self) -> Iterator[ImportedEvent]:
        """The ends of all runs, children first."""
        for run in sorted(self._runs.values(), key=lambda run: run.thread is not None):
            yield run.end(f"end:{self._last[run.run_key]}", run.last_time, result=run.said)

    def _run_of(self, session: str, entry: Json, entry_id: str) -> tuple[RunReader, bool]:
        chain = text_of(entry.get("agentId"))
        if entry.get("isSidechain") and chain is None:
            chain = self._roots.get(text_of(entry.get("parentUuid")) or "", entry_id)
            self._roots[entry_id] = chain
        key = key_of(NAME, session, *([chain] if chain and entry.get("isSidechain") else []))
        known = self._runs.get(key)
        if known is not None:
            return known, False
        is_child = bool(entry.get("isSidechain"))
        run = RunReader(key, f"{NAME}-subagent" if is_child else NAME, None if is_child else thread_of(session))
        self._runs[key] = run
        return run, True

    def _start(self, run: RunReader, entry: Json, time: str | None) -> ImportedEvent:
        session = text_of(entry.get("sessionId")) or ""
        is_child = run.thread is None
        metadata = given(
            imported_from=NAME,
            session_id=session,
            cwd=text_of(entry.get("cwd")),
            git_branch=text_of(entry.get("gitBranch")),
            version=text_of(entry.get("version")),
        )
        prompt = _text_in(object_of(entry.get("message")).get("content")) if entry.get("type") == "user" else None
        return run.start(
            time, input=prompt, metadata=metadata, parent_run_key=key_of(NAME, session) if is_child else None
        )

    def _of_model(
        self, run: RunReader, number: int, entry_id: str, time: str | None, entry: Json, message: Json
    ) -> Iterator[ImportedEvent]:
        message_id = text_of(message.get("id"))
        for place, block in enumerate(_blocks(message)):
            part_id, kind = f"{entry_id}:{place}", block.get("type")
            if kind == "text" and text_of(block.get("text")):
                yield run.text(part_id, time, block["text"], message_id)
            elif kind == "thinking" and text_of(block.get("thinking")):
                yield run.text(part_id, time, block["thinking"], message_id, channel="thinking")
            elif kind == "tool_use":
                call_id = text_of(block.get("id")) or part_id
                yield run.called(part_id, time, call_id, text_of(block.get("name")) or "tool", block.get("input"))
        model, usage = text_of(message.get("model")), object_of(message.get("usage"))
        is_whole = message_id is None or self._last_lines.get(message_id) == number
        if usage and model != _NO_MODEL and is_whole:
            data = given(
                model=model,
                provider="anthropic" if model and model.startswith("claude") else None,
                input_tokens=count_of(usage.get("input_tokens")),
                cached_input_tokens=count_of(usage.get("cache_read_input_tokens")),
                cache_write_tokens=count_of(usage.get("cache_creation_input_tokens")),
                output_tokens=count_of(usage.get("output_tokens")),
                cost_usd=dollars_of(entry.get("costUSD")),
                finish_reason=text_of(message.get("stop_reason")),
                message_id=message_id,
            )
            yield run.event(f"usage:{message_id or entry_id}", "model.call", time, data)


def _of_user(
    run: RunReader, entry_id: str, time: str | None, entry: Json, message: Json, *, is_first: bool
) -> Iterator[ImportedEvent]:
    """Results of tools, and what a person says; what the run began with stands in its start."""
    for place, block in enumerate(_blocks(message)):
        if block.get("type") == "tool_result":
            call_id = text_of(block.get("tool_use_id")) or f"{entry_id}:{place}"
            is_error = block.get("is_error") is True
            yield run.answered(
                f"{entry_id}:{place}", time, call_id, _result_of(block.get("content")), success=not is_error
            )
    said = _text_in(message.get("content"))
    if said is not None and not is_first:
        name = "user.note" if entry.get("isMeta") or entry.get("isCompactSummary") else "user.message"
        yield run.event(entry_id, "other", time, {"name": name, "payload": {"content": said}})


def _blocks(message: Json) -> list[Json]:
    content = message.get("content")
    return (
        [{"type": "text", "text": content}]
        if isinstance(content, str)
        else [object_of(one) for one in list_of(content)]
    )


def _text_in(content: Any) -> str | None:
    """The texts of a message, without results of tools."""
    texts = [
        one["text"] for one in _blocks({"content": content}) if one.get("type") == "text" and text_of(one.get("text"))
    ]
    return "\n".join(texts) or None


def _result_of(content: Any) -> Any:
    """What a tool has put out: its text where that is all, else the blocks as they are, without pictures."""
    blocks = list_of(content)
    if not blocks:
        return content
    if all(object_of(one).get("type") == "text" for one in blocks):
        return "\n".join(str(one.get("text", "")) for one in blocks)
    return [one if object_of(one).get("type") != "image" else {"type": "image"} for one in blocks]
