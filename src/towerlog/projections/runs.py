"""The fold of a run: status, totals, errors, pending commands, open tool calls.

A late event (after the end) changes only the run's place in the log, `late_events`, the ledger of its client and what
was spent; a late start also fills in what was missing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.event import NOT_FROM_AGENT, QUESTION_TYPES, TARGET_STATUS, TOOL_TYPES, Event, EventType
from towerlog.model.facts import Effects, Origin
from towerlog.model.ledger import MAX_CLIENTS, Ledger, within_all
from towerlog.model.run import (
    MAX_METADATA_BYTES,
    MAX_OPEN_TOOL_CHARS,
    MAX_OPEN_TOOLS,
    PLACEHOLDER_AGENTS,
    SEEN_GRAIN_MS,
    TRANSITIONS,
    RunRow,
    Status,
    awaited,
)
from towerlog.model.spending import AgentShare, Spending
from towerlog.projections import commands, questions, usage

_replace = msgspec.structs.replace
# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_STARTED, _SILENT = EventType.RUN_STARTED, EventType.RUN_SILENT
_CANCEL_REQUESTED, _ACKNOWLEDGED = EventType.RUN_CANCEL_REQUESTED, EventType.COMMAND_ACKNOWLEDGED
_MESSAGE_DELTA, _TOOL_CALL = EventType.MESSAGE_DELTA, EventType.TOOL_CALL


FEW_TOOLS, FEW_CHARS = 8, 200
"""So few calls with ids that are no longer fit in any case: nothing has to be added up. Others came one by one."""
STATUS_ONCE_ACKNOWLEDGED = {"pause": Status.PAUSED, "resume": Status.RUNNING}
"""The status that an acknowledged command gives its run."""


def begin(event: Event) -> RunRow:
    """The row of a run before its first event. Raises ValueError when that event does not say which run it begins."""
    origin = event.effects.origin
    if origin is None:
        raise ValueError(f"event {event.position} begins a run without saying which")
    return row_of_origin(event.org, event.run, origin, event.type, event.recorded_at)


def row_of_origin(org: int, run: int, origin: Origin, kind: EventType, recorded_at: int) -> RunRow:
    """The row of a run before its first event, which is of this type."""
    return RunRow(
        run=run,
        org=org,
        run_id=origin.run_id,
        thread_id=origin.thread_id,
        trace_id=origin.trace_id,
        status=Status.QUEUED if kind is EventType.RUN_QUEUED else Status.RUNNING,
        created_at=recorded_at,
        foreign_id=origin.foreign_id,
        source=origin.source,
        implicit=origin.implicit,
        persona_id=origin.persona_id,
        route_id=origin.route_id,
        parent_key=origin.parent_key,
        resumed_from=origin.resumed_from,
        retry_of=origin.retry_of,
        forked_from=origin.forked_from,
        created_by=origin.created_by,
        has_lane=kind is EventType.RUN_QUEUED,
    )


def reports_recovery(row: RunRow, kind: EventType, effects: Effects) -> bool:
    """Whether a completion says that its failed run recovered: SDKs report errors before they know the outcome."""
    return effects.recovered and kind is EventType.RUN_COMPLETED and row.status is Status.FAILED


def fold(row: RunRow, event: Event, agent: str | None, shares: dict[str, Any] | None = None) -> RunRow:
    """The row after an event; `agent` is the name behind the event's agent number.

    `shares`: what `parts_after` gives, by who has it already.
    """
    changes: dict[str, Any] = {
        "last_seq": event.seq,
        "last_position": event.position,
        "last_event_at": event.recorded_at,
        "last_hash": event.hash,
    }
    if event.facts.client_id is not None:
        changes |= number_changes(row, event)
    if event.seq == 1 or (row.started_at is None and (event.effects.is_start or event.type is _STARTED)):
        changes["start_told_at"] = event.told_at()
    if event.late:
        changes["late_events"] = row.late_events + 1
        if event.effects.is_start:
            _fill(row, event.effects, agent, changes)
        if event.effects.report is not None or event.effects.model is not None:
            changes |= parts_after(row, event.effects, agent, late=True) if shares is None else shares
        if row.model is None and event.effects.model is not None:
            changes["model"] = event.effects.model
        usage.place_start(row, event, agent, changes)
        return _replace(row, **changes)
    if event.type not in NOT_FROM_AGENT:
        _fold_life(row, event, changes)
    elif event.type is _SILENT:
        changes["silent_at"] = event.recorded_at
    if not event.facts.foreign and names_agent(row, agent):
        changes["agent"] = agent
    if event.type in TOOL_TYPES:
        changes["open_tools"] = tools_after(row.open_tools, event)
    if event.facts.effects is not None:
        _fold_effects(row, event, agent, changes, shares)
        commands.fold(row, event, changes)
    if event.type in QUESTION_TYPES:
        questions.fold(row, event, changes)
    _fold_status(row, event, changes)
    usage.place_start(row, event, agent, changes)
    return _replace(row, **changes)


def fold_plain(row: RunRow, last: Event, *, deltas: bool, **changes: Any) -> RunRow:
    """The row after some plain events at once, of one moment; `deltas`: pieces of an answer are among them.

    `changes` are what they did to the open tools and the clients' numbers.
    """
    at = last.recorded_at
    return _replace(
        row,
        last_seq=last.seq,
        last_position=last.position,
        last_event_at=at,
        last_hash=last.hash,
        process_at=at,
        progress_at=at,
        output_at=at if deltas else row.output_at,
        seen_at=seen_after(row, at),
        silent_at=None,
        idle=False,
        **changes,
    )


def number_changes(row: RunRow, event: Event) -> dict[str, Any]:
    """What an event's number changes: the ledger of its client. Late events count like others: they have arrived."""
    facts, client_id = event.facts, event.facts.client_id
    if client_id is None or facts.client_seq is None:
        return {}
    ledger = ledger_of(row.clients, client_id)
    if ledger is None:
        return {} if row.uncounted_clients else {"uncounted_clients": True}
    ledger = ledger.with_received(facts.client_seq)
    if facts.client_dropped is not None:
        ledger = ledger.with_dropped(*facts.client_dropped)
    ledgers = {**row.clients, client_id: ledger}
    ledgers[client_id] = within_all(ledgers, client_id)
    return {"clients": ledgers}


def ledger_of(ledgers: dict[str, Ledger], client_id: str) -> Ledger | None:
    """A client's ledger, a new one where there is room for it; None where there is not."""
    ledger = ledgers.get(client_id)
    return Ledger() if ledger is None and len(ledgers) < MAX_CLIENTS else ledger


def names_agent(row: RunRow, agent: str | None) -> bool:
    """Whether this event is the first to name a real agent for its run."""
    if agent is None or row.agent == agent:
        return False
    return row.agent is None or (may_be_named(row) and agent not in PLACEHOLDER_AGENTS)


def may_be_named(row: RunRow) -> bool:
    """Whether no event has named a real agent for its run yet."""
    return row.agent is None or row.agent in PLACEHOLDER_AGENTS


def seen_after(row: RunRow, recorded_at: int) -> int:
    """`seen_at` after a sign of life. Moved at most once in SEEN_GRAIN_MS, since an index is on it."""
    return recorded_at if is_seen_at_stale(row, recorded_at) else row.seen_at


def is_seen_at_stale(row: RunRow, recorded_at: int) -> bool:
    """Whether `seen_at` lags by SEEN_GRAIN_MS or more, or the wall clock was set back to before it."""
    return not 0 <= recorded_at - row.seen_at < SEEN_GRAIN_MS


def _fold_life(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    """The three clocks. Any event of the agent ends a silence; all but heartbeats are progress and end idleness."""
    at, effects = event.recorded_at, event.effects
    changes |= {"process_at": at, "seen_at": seen_after(row, at), "silent_at": None}
    if effects.beat:
        changes["sends_heartbeats"] = True
        return
    changes["progress_at"] = at
    changes["idle"] = effects.idle
    if event.type is _MESSAGE_DELTA:
        changes["output_at"] = at


def _fill(row: RunRow, effects: Effects, agent: str | None, changes: dict[str, Any]) -> None:
    if names_agent(row, agent):
        changes["agent"] = agent
    found = {"model": effects.model, "parent_key": effects.parent_key}
    changes |= {name: value for name, value in found.items() if getattr(row, name) is None and value is not None}
    if effects.metadata is not msgspec.UNSET:
        changes["metadata"] = metadata_after(row, effects.metadata, late=True)
    changes |= {"implicit": False, "composite": effects.composite}


def _fold_effects(
    row: RunRow, event: Event, agent: str | None, changes: dict[str, Any], shares: dict[str, Any] | None
) -> None:
    effects = event.effects
    if effects.model is not None and (row.model is None or not _failed_at_once(event)):
        changes["model"] = effects.model
    if effects.parent_key is not None and row.parent_key is None:
        changes["parent_key"] = effects.parent_key
    if effects.is_start:
        changes["implicit"] = False
    if effects.reporter_key is not None:
        changes["reporter_key"] = effects.reporter_key
    if effects.composite:
        changes["composite"] = True
    if effects.metadata is not msgspec.UNSET:
        changes["metadata"] = metadata_after(row, effects.metadata)
    if effects.rate_limited:
        changes["rate_limited"] = row.rate_limited + 1
    if effects.lane is not None:
        _fold_lane(effects, changes)
    if effects.checkpoint is not None or effects.report is not None or effects.model is not None:
        changes |= parts_after(row, effects, agent) if shares is None else shares


def _failed_at_once(event: Event) -> bool:
    """Whether this is a call that has used nothing: a model that was only tried does not become the run's."""
    report = event.effects.report
    is_call = event.type is EventType.MODEL_CALL and event.facts.success is False and report is not None
    return is_call and not any(msgspec.structs.astuple(report.usage) if report is not None else ())


def _fold_lane(effects: Effects, changes: dict[str, Any]) -> None:
    lane = effects.lane
    if lane is None:
        return
    if lane.epoch:
        changes |= {"attempt": lane.attempt, "lease_epoch": lane.epoch}
    if lane.phase is not None:
        changes["phase"] = lane.phase


def parts_after(row: RunRow, effects: Effects, agent: str | None, *, late: bool = False) -> dict[str, Any]:
    """What an event with these effects changes of what was told of a run's usage, and its totals (`usage`).

    After the end it counts as before it: a failed run has a cost too.
    """
    after = _spending_after(row.spending(), effects, agent or "default", late)
    return {
        "shares": after.shares,
        "retired": after.retired,
        "run_total": after.run_total,
        "run_sides": after.run_sides,
        "process_cost": after.process_cost,
        "process": row.process if effects.report is None else effects.report.process or row.process,
        "usage_flags": after.flags,
        "usage": row.usage if effects.report is None else after.usage(),
    }


def _spending_after(spending: Spending, effects: Effects, agent: str, late: bool) -> Spending:
    checkpoint, model = effects.checkpoint, effects.model
    if checkpoint is not None and checkpoint.decision:
        checkpoint = None
    if effects.report is not None:
        spending = spending.after(effects.report, agent, None if checkpoint is None else checkpoint.step_index)
    share = spending.shares.get(agent, AgentShare())
    # A late checkpoint leaves no row, so its step is none that a decision or a repeat could mean.
    if checkpoint is not None and not late and checkpoint.step_index > share.step_index:
        share = _replace(share, step_index=checkpoint.step_index)
    if model is not None and model != share.model:
        share = _replace(share, model=model, several_models=share.several_models or share.model is not None)
    return spending if share == spending.shares.get(agent, AgentShare()) else spending.with_share(agent, share)


def tools_after(open_tools: tuple[tuple[str, str], ...], event: Event) -> tuple[tuple[str, str], ...]:
    """The calls without a result, after a tool call or a result."""
    call_id = event.facts.tool_call_id or ""
    if event.type is _TOOL_CALL:
        # The oldest are most likely calls whose result was never sent.
        return _newest_tools((*open_tools, (event.facts.tool or "", call_id))[-MAX_OPEN_TOOLS:])
    if not open_tools:
        return ()
    return tuple(call for call in open_tools if call[1] != call_id)


def _newest_tools(calls: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Those whose names and ids have at most MAX_OPEN_TOOL_CHARS characters together."""
    if len(calls) <= FEW_TOOLS and len(calls[-1][1]) <= FEW_CHARS:
        return calls
    room = MAX_OPEN_TOOL_CHARS
    for index in range(len(calls) - 1, -1, -1):
        room -= len(calls[index][0]) + len(calls[index][1])
        if room < 0:
            return calls[index + 1 :]
    return calls


def _fold_status(row: RunRow, event: Event, changes: dict[str, Any]) -> None:
    target = event.effects.status or TARGET_STATUS.get(event.type) or _status_once_acknowledged(row, event, changes)
    if event.type is _STARTED and row.started_at is None:
        changes["started_at"] = event.recorded_at
    if event.type in QUESTION_TYPES:
        target = _status_asked(row, target)
    if target is None or _stays_queued(row, event, target):
        return
    if event.type is _CANCEL_REQUESTED and row.cancel_requested_at is None:
        changes["cancel_requested_at"] = event.recorded_at
    # A checkpoint brings its own status: whether it waits for an approval. A start waits for none.
    if event.effects.status is not None or event.type is _STARTED:
        changes["awaits_approval"] = target is Status.WAITING
    if target in (Status.RUNNING, Status.WAITING):
        target = _status_open(row, changes)
    if target is Status.RUNNING:
        changes["pause_taken"] = None
    if target in TRANSITIONS[row.status] or reports_recovery(row, event.type, event.effects):
        changes["status"] = target
        if target is Status.RUNNING and row.started_at is None:
            changes.setdefault("started_at", event.recorded_at)
        # No status may follow an end, so an empty row of the table marks one.
        if not TRANSITIONS[target]:
            _fold_end(event, changes)


def _status_asked(row: RunRow, target: Status | None) -> Status | None:
    """What closes a question moves only a run that waits: an answer to a paused one leaves it paused."""
    return target if target is Status.WAITING or row.status is Status.WAITING else None


def _status_open(row: RunRow, changes: dict[str, Any]) -> Status:
    """Of a run that works: it waits while a question or an approval is open, whatever else its agent does."""
    questions = changes.get("questions", row.questions)
    is_open = awaited(questions, changes.get("asking_epoch", row.asking_epoch))
    return Status.WAITING if is_open or changes.get("awaits_approval", row.awaits_approval) else Status.RUNNING


def _status_once_acknowledged(row: RunRow, event: Event, changes: dict[str, Any]) -> Status | None:
    """The status for an acknowledged pause or resume: some dialects have no event for having paused, so it counts."""
    if event.type is not _ACKNOWLEDGED or "pending" not in changes:
        return None
    taken = next((one for one in row.pending if one not in changes["pending"]), None)
    if taken is None or (taken.type == "resume" and row.status is not Status.PAUSED):
        return None
    return STATUS_ONCE_ACKNOWLEDGED.get(taken.type)


def _stays_queued(row: RunRow, event: Event, target: Status) -> bool:
    """Whether the status stays: a run back in the queue is taken out of it only by a claim or an end."""
    requeued = row.status is Status.QUEUED and row.lease_epoch > 0
    return requeued and not event.effects.claims and bool(TRANSITIONS[target])


def _fold_end(event: Event, changes: dict[str, Any]) -> None:
    changes["ended_at"] = event.recorded_at
    changes["end_told_at"] = event.told_at()
    changes["ended_seq"] = event.seq
    changes["error"] = event.facts.error
    changes["forced"] = event.effects.forced
    changes |= {"pending": (), "open_tools": (), "questions": (), "awaits_approval": False, "pause_taken": None}


def metadata_after(row: RunRow, told: msgspec.Raw, *, late: bool = False) -> msgspec.Raw:
    """The run's metadata with what an event tells; as it was, where both together are longer than MAX_METADATA_BYTES.

    What is told late fills in what was missing, else it takes precedence.
    """
    if len(bytes(told)) > MAX_METADATA_BYTES:
        return row.metadata
    merged = merge_objects(told, row.metadata) if late else merge_objects(row.metadata, told)
    return merged if len(bytes(merged)) <= MAX_METADATA_BYTES else row.metadata


def metadata_fits(row: RunRow, effects: Effects) -> bool:
    """Whether the run's row has room for what an event tells of its metadata, if it tells any."""
    told = effects.metadata
    return told is msgspec.UNSET or metadata_after(row, told, late=row.is_terminal()) is not row.metadata


def merge_objects(left: msgspec.Raw, right: msgspec.Raw) -> msgspec.Raw:
    """One JSON object with the members of both; those of the right one take precedence."""
    merged = _decode_object(left) | _decode_object(right)
    return msgspec.Raw(msgspec.json.encode(merged))


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
