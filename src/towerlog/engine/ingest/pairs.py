"""What belongs together in a run: a call and its result, a step's beginning and its end; how long they took."""

from __future__ import annotations

import msgspec

from towerlog.engine.plan.run_state import RunState
from towerlog.model.event import Draft, EventType
from towerlog.model.facts import Facts
from towerlog.model.run import LONG_ID, MAX_OPEN_ID_CHARS, OpenTool, long_call_id, step_key
from towerlog.model.times import told_time

_replace = msgspec.structs.replace
# By a name of its own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_TOOL_RESULT = EventType.TOOL_RESULT


def paired(run_state: RunState, draft: Draft, facts: Facts, data: bytes, now: int) -> tuple[Facts, bytes]:
    """A tool call's and its result's shared id: the sender's, else one made here. And of a result how long the call
    took, where its sender has not told that and it is known which call it belongs to."""
    call, call_id = None, facts.tool_call_id
    # What another key tells belongs to none of the run's own calls.
    if run_state.open_tools and draft.type is _TOOL_RESULT and not facts.by_other:
        call = _called(run_state.open_tools, facts)
        if call is not None and facts.duration_ms is None and (call_id is not None or not call.overlaps):
            took = _took(call, draft.occurred_at, now)
            facts = facts if took is None else _replace(facts, duration_ms=took)
    if call_id is not None:
        return facts, data
    call_id = f"call-{run_state.seq + 1}" if call is None else call.call_id
    if b'"tool_call_id"' not in data:
        head = b'{"tool_call_id":' + msgspec.json.encode(call_id)
        rest = data[1:].lstrip()
        data = head + (b"" if rest.startswith(b"}") else b",") + rest
    return _replace(facts, tool_call_id=call_id), data


def step_timed(run_state: RunState, facts: Facts, occurred_at: int | None, now: int) -> Facts:
    """The facts of a step's end, with how long it took where its beginning is known; two of one name are a guess."""
    key = step_key(facts.ends or "")
    step = next((call for call in reversed(run_state.open_tools) if call.call_id == key), None)
    took = None if step is None or step.overlaps else _took(step, occurred_at, now)
    return facts if took is None else _replace(facts, duration_ms=took)


def _took(call: OpenTool, occurred_at: int | None, now: int) -> int | None:
    """How many ms a call took whose result comes now: by its sender's clock where that told both ends, else as they
    arrived.

    None where nothing was measured: the clock was set back in between, or both ends came with the same commit.
    """
    if call.told_at is not None and occurred_at is not None:
        told_at = told_time(occurred_at, now)
        if told_at is not None:
            return told_at - call.told_at if told_at >= call.told_at else None
    return now - call.called_at if now > call.called_at else None


def _called(open_tools: tuple[OpenTool, ...], facts: Facts) -> OpenTool | None:
    """The open call that a result belongs to: by its id; without one the newest of its tool, since the result of an
    older one may have been lost."""
    if facts.tool_call_id is not None:
        is_long = len(facts.tool_call_id) > MAX_OPEN_ID_CHARS
        call_id = long_call_id(facts.tool_call_id) if is_long else facts.tool_call_id
        return next((call for call in reversed(open_tools) if call.call_id == call_id), None)
    tool = facts.tool or ""
    # A long id stands there by its digest, which is nobody's id.
    return next((call for call in reversed(open_tools) if call.tool == tool and call.call_id[:1] != LONG_ID), None)
