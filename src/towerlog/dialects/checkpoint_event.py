"""Checkpoints as agents send them, in whichever dialect: reading one, and its words for a status.

A history is split into messages here, and the messages are not decoded: each stays the text that was sent, without
spaces between its tokens, so that equal messages have one name. A checkpoint is taken up to the limit of a body, not
of an event: a state that is not whole is worth nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from towerlog.dialects import base, details, fields
from towerlog.dialects.approvals.terms import SaidTerms, terms_of
from towerlog.dialects.details import Label
from towerlog.dialects.fields import NULL, Count, Warnings
from towerlog.dialects.members import kind_of
from towerlog.dialects.structure import check_depth, check_length
from towerlog.dialects.usage_json import SaidUsage
from towerlog.model.checkpoint import APPROVED, AWAITS_APPROVAL, REJECTED
from towerlog.model.event import Draft, EventType, History, HistoryBase, OpenRun, RunByTrace, RunRef
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.run import PARENT_TRACE, Status
from towerlog.model.texts import texts_of
from towerlog.model.usage import MAX_NUMBER, NO_USAGE, UsageReport

MAX_MESSAGES = 50_000
"""Messages of one history. Each new one becomes a row in the store."""
UNKNOWN_AGENT = "unknown"
OF_ONE_CALL = "a cost beside a total of tokens may be that of the last model call alone"

STATUS_WORDS: dict[Status, str] = {
    Status.QUEUED: "in_progress",
    Status.RUNNING: "in_progress",
    Status.WAITING: "waiting_for_approval",
    Status.PAUSED: "idle",
    Status.CANCELLING: "in_progress",
    Status.COMPLETED: "completed",
    Status.FAILED: "error",
    Status.CANCELLED: "error",
    Status.BUDGET_EXCEEDED: "budget_exceeded",
    Status.LOST: "error",
}
"""A run's status in the words of a checkpoint."""

STATUS_OF: dict[str, Status] = {
    "in_progress": Status.RUNNING,
    "waiting_for_approval": Status.WAITING,
    APPROVED: Status.RUNNING,
    REJECTED: Status.RUNNING,
    "completed": Status.COMPLETED,
    "error": Status.FAILED,
    "budget_exceeded": Status.BUDGET_EXCEEDED,
    "idle": Status.RUNNING,
}
"""The run's status for a checkpoint's word. Any other word is kept and counts as `in_progress`."""

_KEPT_ONLY = frozenset({"completed", "error", "budget_exceeded"})
"""Words that do not change the run's status: a run is ended only by its terminal event."""


class _Snapshot(SaidTerms, frozen=True, gc=False, kw_only=True):
    """The fields that are read of a checkpoint's data, without its history."""

    step_index: Count
    thread_id: str | None = None
    trace_id: str | None = None
    parent_trace_id: str | None = None
    agent_id: str | None = None
    status: Label | None = None
    turn_start_history_len: Count | None = None
    pending_tool_calls: msgspec.Raw = NULL
    budget_usd: msgspec.Raw = NULL
    budget_warning: bool | None = None


_IDENTITY = frozenset({"step_index", "thread_id", "trace_id", "parent_trace_id", "agent_id"})
"""What identifies and places a checkpoint."""


class _Base(msgspec.Struct, frozen=True, gc=False):
    node: str
    length: Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]


_NODE = re.compile(r"[0-9a-f]{32}")
_BASE = msgspec.json.Decoder(_Base | None)
_USAGE = msgspec.json.Decoder(SaidUsage)
_SNAPSHOT = msgspec.json.Decoder(_Snapshot)


def checkpoint_draft(
    data: bytes | msgspec.Raw,
    run: RunRef | None,
    settings: base.DialectSettings,
    prefix: str,
    warnings: Warnings,
    *,
    has_base: bool = False,
    event_id: str | None = None,
) -> Draft:
    """The draft of a checkpoint from its data, one JSON object. Errors name fields below `prefix`, and
    so do the `warnings` of what could not be used.

    `run` None: the data names its run by `thread_id` and `trace_id`, and an agent that it does not name is `unknown`.
    With a run, the thread is known, and an agent that is not named is the run's. `has_base`: a member `base` names the
    stored history that `history` goes on from.
    """
    text = fields.object_text(data, prefix, settings.max_body_bytes)
    members = fields.members_of(text, prefix)
    beginning = _base(members, prefix) if has_base else None
    history = _history(members, beginning, settings, prefix)
    figures = fields.one_line(msgspec.json.encode(members), prefix, settings.max_depth, settings.max_body_bytes)
    sent = fields.read(_SNAPSHOT, figures, prefix, warnings, _IDENTITY)
    # Decoded from `figures`, which no longer has the history: it can be megabytes.
    agent = fields.agent_name(sent.agent_id, f"{prefix}.agent_id", warnings)
    if run is None:
        thread_id = fields.text_id(sent.thread_id, f"{prefix}.thread_id")
        run = run_ref(thread_id, fields.optional_id(sent.trace_id, f"{prefix}.trace_id"))
        agent = agent or UNKNOWN_AGENT
    return Draft(
        EventType.CHECKPOINT,
        run,
        figures,
        _facts(sent, fields.read(_USAGE, figures, prefix, warnings), history, prefix, warnings),
        event_id=event_id,
        agent=agent,
        agent_default=UNKNOWN_AGENT,
        history=history,
    )


def run_ref(thread_id: str, trace_id: str | None, *, reopen: bool = False) -> RunRef:
    """The run (thread, trace); without a trace the thread's open run."""
    if trace_id is None:
        return OpenRun(thread_id, reopen)
    return RunByTrace(thread_id, trace_id, reopen)


def parent_key(parent_trace_id: str | None, field: str) -> str | None:
    """The key by which a run refers to its parent's trace; the parent may arrive later."""
    found = fields.optional_id(parent_trace_id, field)
    return None if found is None else PARENT_TRACE + found


def _facts(sent: _Snapshot, spent: SaidUsage, history: History, prefix: str, warnings: Warnings) -> Facts:
    status = sent.status or "in_progress"
    # For their check only: they stay in the figures.
    details.cost_nanos(sent.budget_usd, f"{prefix}.budget_usd", warnings)
    if bytes(sent.pending_tool_calls)[:1] not in (b"[", b"n"):
        fields.unused(warnings, f"{prefix}.pending_tool_calls", "must be an array")
    return Facts(
        effects=Effects(
            idle=status == "idle",
            status=None if status in _KEPT_ONLY else STATUS_OF.get(status, Status.RUNNING),
            report=_report(spent, prefix, warnings),
            model=spent.model or None,
            provider=spent.provider or None,
            parent_key=parent_key(sent.parent_trace_id, f"{prefix}.parent_trace_id"),
            checkpoint=CheckpointFacts(
                sent.step_index,
                status,
                length=len(history.messages),
                has_meta=history.meta is not None,
                terms=terms_of(sent, prefix, warnings) if status == AWAITS_APPROVAL else None,
            ),
        )
    )


def _report(sent: SaidUsage, prefix: str, warnings: Warnings) -> UsageReport | None:
    """The agent's tokens and the cost of its process, or that of its tokens; None when nothing was sent.

    `tokens_used` is a running total. Input and output are such totals for one kind of runner and the figures of the
    last model call for another: which it is, is seen beside `tokens_used`. A cost of theirs is such a total as well
    where nothing stands beside them; else it may be that of one call, and is not used.
    """
    cost = details.cost_nanos(sent.run_cost_usd, f"{prefix}.run_cost_usd", warnings)
    found, parts = sent.spent(prefix, warnings)
    tokens = (found.input_tokens, found.output_tokens, found.total_tokens)
    kind: Literal["total", "turn"] = "total" if None in tokens else "turn"
    own = found.cost_nanos if cost is None else None
    if own is not None and found.total_tokens is not None:
        fields.unused(warnings, prefix, f"{OF_ONE_CALL}: tell `run_cost_usd`, or leave out the total")
        own = None
    usage = msgspec.structs.replace(found, cost_nanos=own if cost is None else cost)
    if usage == NO_USAGE:
        return None
    return UsageReport(usage, kind, process_cost=cost is not None, inclusive=True, parts=parts, by_size=True)


def _base(members: dict[str, msgspec.Raw], prefix: str) -> HistoryBase | None:
    """The base, removed from the members; None if there is none."""
    sent = fields.decode(_BASE, members.pop("base", NULL), f"{prefix}.base")
    if sent is None:
        return None
    if not _NODE.fullmatch(sent.node):
        raise fields.invalid_field(f"{prefix}.base.node", "must be 32 lower-case hex digits")
    return HistoryBase(bytes.fromhex(sent.node), sent.length)


def _history(
    members: dict[str, msgspec.Raw], beginning: HistoryBase | None, settings: base.DialectSettings, prefix: str
) -> History:
    """The history, removed from the members: what is left are the figures."""
    # Two levels less: a message is inside the array and the object.
    deepest = settings.max_depth - 2
    messages: Sequence[bytes] = _items(members.pop("history", NULL), f"{prefix}.history", deepest) or []
    meta = _items(members.pop("history_meta", NULL), f"{prefix}.history_meta", deepest)
    # Their lengths may differ: who waits for an approval sends the metas gathered so far beside no message.
    return History(messages, meta, beginning)


def _items(raw: msgspec.Raw, field: str, deepest: int) -> Sequence[bytes] | None:
    """The items of an array, as one compact JSON text each; None for null."""
    text = _array(raw, field)
    if text is None:
        return None
    check_length(text, field, MAX_MESSAGES)
    check_depth(text, field, deepest, around=1)
    return texts_of(text)


def _array(raw: msgspec.Raw, field: str) -> bytes | None:
    """The text of an array, None for null."""
    text = bytes(raw)
    if text[:1] == b"[":
        return text
    if text == b"null":
        return None
    raise fields.invalid_field(field, f"Expected `array | null`, got {kind_of(text)}")
