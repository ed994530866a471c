"""Sessions of Claude Code: a file of lines, each an entry of the conversation. A session is a run, a sub-agent a child.

A message of the model takes several lines, whose usage grows until the last one has it whole. So a file is read twice:
first where each message ends. Nothing says that a session has ended, and some files repeat what stands in others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from towerlog.cli.importers.claude_code_overview import Overview, blocks_of, chain_of, overview_of, text_in
from towerlog.cli.importers.events import (
    ImportedEvent,
    Json,
    RunReader,
    count_of,
    dollars_of,
    given,
    key_of,
    list_of,
    object_of,
    parts_of,
    text_of,
    thread_of,
)
from towerlog.cli.importers.sources import Source
from towerlog.provider_usage.forms import BESIDE_THE_USAGE, IN_THE_USAGE

NAME = "claude-code"
_SPOKEN = frozenset({"user", "assistant"})
_NO_MODEL = "<synthetic>"
"""The model of messages that the program has written itself."""
_GOES_ON = frozenset({None, "tool_use", "pause_turn"})
"""Why a message has stopped whose turn goes on."""
_BESIDE = frozenset({"summary", "file-history-snapshot"})
"""Entries without a session. Some files have no others."""


def recognizes(value: Any) -> bool:
    """Whether a value is of such a file."""
    entry = object_of(value)
    return ("sessionId" in entry and ("uuid" in entry or "type" in entry)) or text_of(entry.get("type")) in _BESIDE


def read(source: Source, skipped: Callable[[str], None]) -> Iterator[ImportedEvent]:
    """The events of a file. `skipped` is told of entries that say nothing of a run."""
    reader = _Reader(source, overview_of(source()), skipped)
    for number, value in source():
        yield from reader.entry(number, object_of(value))
    yield from reader.ends()


class _Reader:
    """Entries in, events out."""

    def __init__(self, source: Source, overview: Overview, skipped: Callable[[str], None]) -> None:
        self._source = source
        self._overview = overview
        self._skipped = skipped
        self._runs: dict[str, RunReader] = {}
        self._children: set[str] = set()
        self._roots: dict[str, str] = {}
        """Entry of a side chain → the first entry of that chain."""
        self._last: dict[str, str] = {}
        """Run → its last entry."""
        self._at_rest: set[str] = set()
        """Runs whose last turn has ended."""
        self._prompts: dict[str, tuple[int, str | None]] = {}
        """Run → line and text of what it began with."""
        self._failed: dict[str, str] = {}
        """Runs whose last message says that the model could not be asked → what it says."""
        self._forked_from: dict[str, str | None] = {}
        """Session → the one that the entries before its own were copied from, where they say so."""

    def entry(self, number: int, entry: Json) -> Iterator[ImportedEvent]:
        """The events of one line."""
        session, kind = text_of(entry.get("sessionId")), entry.get("type")
        if session is None or not (kind in _SPOKEN or kind == "system"):
            self._skipped(str(kind))
            return
        if number in self._overview.repeated:
            self._skipped("written again")
            return
        entry_id, time = text_of(entry.get("uuid")) or f"line-{number}", text_of(entry.get("timestamp"))
        message = object_of(entry.get("message"))
        chain = self._agent_of(entry, entry_id)
        key = key_of(NAME, session, *([] if chain is None else [chain]))
        if self._is_copy(key, entry, message):
            self._skipped("copied from another session")
            self._forked_from[session] = text_of(object_of(entry.get("forkedFrom")).get("sessionId"))
            return
        run, is_new = self._run_of(key, session, chain)
        if is_new:
            self._prompts[key] = prompt = self._prompt_of(number, entry, chain)
            yield self._start(run, session, chain, entry, time, prompt[1])
        self._last[key] = entry_id
        if kind == "assistant":
            (self._at_rest.discard if message.get("stop_reason") in _GOES_ON else self._at_rest.add)(key)
            self._failed.pop(key, None)
            if entry.get("isApiErrorMessage") is True:
                self._failed[key] = text_in(message.get("content")) or "the model could not be asked"
            yield from self._of_model(run, number, entry_id, time, entry, message)
        elif kind == "user":
            if not entry.get("isMeta"):
                self._at_rest.discard(key)
                self._failed.pop(key, None)
            yield from _of_user(run, entry_id, time, entry, message, is_first=number == self._prompts[key][0])
        else:
            payload = given(subtype=entry.get("subtype"), content=entry.get("content"), level=entry.get("level"))
            yield run.event(entry_id, "other", time, {"name": "system", "payload": payload})

    def ends(self) -> Iterator[ImportedEvent]:
        """The ends of the runs that have one, children first."""
        is_left = self._source.is_at_rest()
        for key, run in sorted(self._runs.items(), key=lambda one: one[0] not in self._children):
            if is_left or (key in self._at_rest and self._source.is_past(run.last_time)):
                error = self._failed.get(key)
                failed = {"kind": "run.failed", "error": error} if error is not None else {"result": run.said}
                yield run.end(run.last_time, **failed)
            else:
                yield run.goes_on(self._last[key])

    def _is_copy(self, key: str, entry: Json, message: Json) -> bool:
        """Whether another session has this entry. A message of the model keeps its id where its entry has a new one; an
        id that says nothing, since several responses have it, names nothing."""
        names, message_id = [text_of(entry.get("uuid"))], text_of(message.get("id"))
        if message_id is not None and message_id not in self._overview.shared:
            names.append(f"{message_id}:{text_of(entry.get('requestId')) or text_of(entry.get('timestamp'))}")
        return any(self._source.copies.is_copy(f"{NAME}:{name}", key) for name in names if name is not None)

    def _agent_of(self, entry: Json, entry_id: str) -> str | None:
        """The sub-agent that an entry is of; where none is named, the first entry of its side chain."""
        if not entry.get("isSidechain"):
            return None
        named = text_of(entry.get("agentId"))
        if named is not None:
            return named
        root = self._roots.get(text_of(entry.get("parentUuid")) or "", entry_id)
        self._roots[entry_id] = root
        return root

    def _run_of(self, key: str, session: str, chain: str | None) -> tuple[RunReader, bool]:
        known = self._runs.get(key)
        if known is not None:
            return known, False
        run = RunReader(key, NAME if chain is None else f"{NAME}-subagent", thread_of(session))
        self._runs[key] = run
        if chain is not None:
            self._children.add(key)
        return run, True

    def _prompt_of(self, number: int, entry: Json, chain: str | None) -> tuple[int, str | None]:
        """Line and text of what a run begins with, whose first line this is: the program may note something before."""
        said = text_in(object_of(entry.get("message")).get("content")) if entry.get("type") == "user" else None
        is_noted = said is None or entry.get("isMeta")
        # Entries of several side chains without a name cannot be told apart beforehand.
        is_named = chain is None or text_of(entry.get("agentId")) is not None
        found = self._overview.prompts.get(chain_of(entry)) if is_noted and is_named else None
        return found or (number, said)

    def _start(
        self, run: RunReader, session: str, chain: str | None, entry: Json, time: str | None, prompt: str | None
    ) -> ImportedEvent:
        metadata = given(
            imported_from=NAME,
            session_id=session,
            forked_from=text_of(object_of(entry.get("forkedFrom")).get("sessionId")) or self._forked_from.get(session),
            cwd=text_of(entry.get("cwd")),
            git_branch=text_of(entry.get("gitBranch")),
            version=text_of(entry.get("version")),
        )
        parent = None if chain is None else key_of(NAME, session, *self._agents_above(chain))
        return run.start(time, input=prompt, metadata=metadata, parent_run_key=parent)

    def _agents_above(self, agent: str) -> list[str]:
        """The sub-agent whose own one this is, if it is any: its file lies in a folder of that name."""
        folder = self._source.path.parent
        above = folder.parent.name.removeprefix("agent-")
        is_nested = folder.name == "subagents" and folder.parent.name.startswith("agent-")
        return [above] if is_nested and above != agent else []

    def _of_model(
        self, run: RunReader, number: int, entry_id: str, time: str | None, entry: Json, message: Json
    ) -> Iterator[ImportedEvent]:
        message_id = text_of(message.get("id"))
        for place, block in enumerate(blocks_of(message)):
            part_id, kind = f"{entry_id}:{place}", block.get("type")
            if kind == "text" and text_of(block.get("text")):
                yield run.text(part_id, time, block["text"], message_id)
            elif kind == "thinking" and text_of(block.get("thinking")):
                yield run.text(part_id, time, block["thinking"], message_id, channel="thinking")
            elif kind == "tool_use":
                call_id = text_of(block.get("id")) or part_id
                yield run.called(part_id, time, call_id, text_of(block.get("name")) or "tool", block.get("input"))
        model, usage = text_of(message.get("model")), object_of(message.get("usage"))
        if usage and model != _NO_MODEL and self._is_whole(number, entry, message):
            response = self._overview.responses.get(number, entry_id)
            cost, told_id = dollars_of(entry.get("costUSD")), f"usage:{response}"
            reason = text_of(message.get("stop_reason"))
            data = _call(model, usage, cost_usd=cost, finish_reason=reason, message_id=message_id)
            yield run.event(told_id, "model.call", time, data)
            for place, one in enumerate(map(object_of, list_of(usage.get("iterations")))):
                kind = text_of(one.get("type")) or "without a type"
                if kind in BESIDE_THE_USAGE:
                    # The cost of the entry is that of all its calls.
                    of_it = given(cost_usd=None if cost is None else 0, message_id=message_id)
                    data = _call(text_of(one.get("model")) or model, one, **of_it)
                    yield run.event(f"{told_id}:{place}", "model.call", time, data)
                elif kind != IN_THE_USAGE:
                    self._skipped(f"tokens of iteration {kind[:40]}")

    def _is_whole(self, number: int, entry: Json, message: Json) -> bool:
        """Whether this line has a message's usage, and no later one of a file that is still being written will."""
        response = self._overview.responses.get(number)
        if response is None:
            return True
        if self._overview.last_lines.get(response) != number:
            return False
        may_grow = message.get("stop_reason") is None and self._overview.newest.get(chain_of(entry)) == response
        return not may_grow or self._source.is_at_rest()


def _call(model: str | None, usage: Json, **more: Any) -> Json:
    """A call of a model with its figures."""
    return given(
        model=model,
        provider="anthropic" if model and model.startswith("claude") else None,
        input_tokens=count_of(usage.get("input_tokens")),
        cached_input_tokens=count_of(usage.get("cache_read_input_tokens")),
        cache_write_tokens=count_of(usage.get("cache_creation_input_tokens")),
        output_tokens=count_of(usage.get("output_tokens")),
        **parts_of(usage),
        **more,
    )


def _of_user(
    run: RunReader, entry_id: str, time: str | None, entry: Json, message: Json, *, is_first: bool
) -> Iterator[ImportedEvent]:
    """Results of tools, and what a person says; what the run began with stands in its start."""
    for place, block in enumerate(blocks_of(message)):
        if block.get("type") == "tool_result":
            call_id = text_of(block.get("tool_use_id")) or f"{entry_id}:{place}"
            is_error = block.get("is_error") is True
            yield run.answered(
                f"{entry_id}:{place}", time, call_id, _result_of(block.get("content")), success=not is_error
            )
    said = text_in(message.get("content"))
    if said is not None and not is_first:
        name = "user.note" if entry.get("isMeta") or entry.get("isCompactSummary") else "user.message"
        yield run.event(entry_id, "other", time, {"name": name, "payload": {"content": said}})


def _result_of(content: Any) -> Any:
    """What a tool has put out: its text where that is all, else the blocks as they are, without pictures."""
    blocks = list_of(content)
    if not blocks:
        return content
    if all(object_of(one).get("type") == "text" for one in blocks):
        return "\n".join(str(one.get("text", "")) for one in blocks)
    return [one if object_of(one).get("type") != "image" else {"type": "image"} for one in blocks]
