"""The fold of a run: status, totals, errors, pending commands, open tool calls.

A late event (after the end) changes no status. It moves the run's place in the log, `late_events`, the ledger of its
client, the open tool calls, the model and what was spent; a late start also fills in what was missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.agent_share import AgentShare
from towerlog.model.checkpoint import AWAITS_APPROVAL as AWAITED
from towerlog.model.computed_costs import merged_version
from towerlog.model.dormant import Dormant
from towerlog.model.event import QUESTION_TYPES, TIMED_TYPES, TOOL_TYPES, Event, EventType
from towerlog.model.facts import NO_EFFECTS, Effects, Facts, Origin
from towerlog.model.liveness import NOT_FROM_AGENT, is_of_agent, is_waiting
from towerlog.model.naming import named
from towerlog.model.row_bounds import (
    FITTED_BYTES,
    MAX_PHASE_BYTES,
    clipped,
    fitted,
    has_room_for_cell,
    newest_tools,
    weights,
)
from towerlog.model.run import (
    MAX_OPEN_ID_CHARS,
    MAX_OPEN_TOOLS,
    PLACEHOLDER_AGENTS,
    SEEN_GRAIN_MS,
    OpenTool,
    RunRow,
    Status,
    Unplaced,
    long_call_id,
    step_key,
)
from towerlog.model.span import CALLS_FORGOTTEN
from towerlog.model.spending import COMPUTED_KEPT, Spending
from towerlog.projections import checkpoints, clients, commands, computed_costs, questions
from towerlog.projections import status as status_fold
from towerlog.projections.metadata import metadata_after
from towerlog.projections.usage import hour_of, with_cells

_replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode
# By names of their own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_STARTED, _SILENT = EventType.RUN_STARTED, EventType.RUN_SILENT
_MESSAGE_DELTA, _TOOL_CALL = EventType.MESSAGE_DELTA, EventType.TOOL_CALL


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
        unnamed_thread=origin.unnamed_thread,
        created_by=origin.created_by,
        has_lane=kind is EventType.RUN_QUEUED,
    )


def fold(row: RunRow, event: Event, agent: str | None, shares: dict[str, Any] | None = None) -> RunRow:
    """The row after an event; `agent` is the name behind the event's agent number.

    `shares`: what `parts_after` gives, by who has it already.
    """
    was, row, effects = row, named(row, event.facts, agent, late=event.late), event.effects
    changes: dict[str, Any] = {
        "last_seq": event.seq,
        "last_position": event.position,
        "last_event_at": event.recorded_at,
        "last_hash": event.hash,
    }
    if effects.reporter_key is not None and not event.late:
        changes |= clients.under(row, effects.reporter_key)
    if effects.thread_id is not None:
        changes |= {"thread_id": effects.thread_id, "unnamed_thread": False}
    if event.facts.client_id is not None:
        changes |= clients.with_number(row, event, changes.get("clients", row.clients))
    if event.seq == 1 or (row.started_at is None and (effects.is_start or event.type is _STARTED)):
        changes["start_told_at"] = event.told_at()
    if effects.report is not None or effects.repriced is not None:
        changes["usage_seq"] = event.seq
    if event.type in TIMED_TYPES and not event.facts.by_other:
        changes["open_tools"] = tools_after(row.open_tools, event)
    if event.late:
        if not status_fold.is_word_of_server(effects):
            changes["late_events"] = row.late_events + 1
        if effects.is_start:
            if row.agent is None:
                changes["agent"] = agent
            _fill(row, effects, changes)
        if _tells_usage(effects) or checkpoints.is_kept(event, row):
            changes |= parts_after(row, event.facts, agent, late=event.late) if shares is None else shares
        if row.model is None and effects.model is not None and not is_of_others(event.facts):
            changes["model"] = effects.model
        _place(row, event, agent, changes)
        return _within(was, status_fold.erased(with_cells(row, _replace(row, **changes), event, agent), event))
    if is_of_agent(event.type, event.facts.effects):
        _fold_life(row, event, changes)
    elif event.type is _SILENT:
        changes["silent_at"] = event.recorded_at
    elif event.type not in NOT_FROM_AGENT and is_waiting(row):
        # A person's answer, decision or message, after which the agent has the whole threshold of silence again.
        at = event.recorded_at
        changes |= {"expected_at": at, "seen_at": seen_after(row, at), "silent_at": None, "idle": False}
    if row.agent is None and effects.assumes_agent is not None:
        changes |= {"agent": effects.assumes_agent, "assumed_agent": True}
    elif row.agent is None and not event.facts.foreign and agent is not None:
        changes["agent"] = agent
    if event.facts.effects is not None:
        _fold_effects(row, event, agent, changes, shares)
        commands.fold(row, event, changes)
    if row.pause_taken is not None or row.status is Status.CANCELLING:
        commands.tell_standing(row, event, changes)
    if event.type in QUESTION_TYPES:
        questions.fold(row, event, changes)
    status_fold.fold(row, event, changes)
    _place(row, event, agent, changes)
    return _within(was, with_cells(row, _replace(row, **changes), event, agent))


def _within(before: RunRow, after: RunRow) -> RunRow:
    """The row after an event, which had this one before: without what may be forgotten, where it is too long."""
    if weights(before) == weights(after) or len(_encode(after)) <= FITTED_BYTES:  # nearly always
        return after
    return fitted(after)


def fold_plain(
    row: RunRow, last: Event, counts: Mapping[tuple[str, int], int], *, deltas: bool, **changes: Any
) -> RunRow:
    """The row after some plain events at once, of one moment; `deltas`: pieces of an answer are among them.

    `counts`: how many of each agent and hour. `changes` are what they did to the open tools and the clients' numbers,
    and `idle` where they ended that.
    """
    at, unplaced = last.recorded_at, row.unplaced
    for (agent, hour), events in counts.items():
        if not (row.shares and has_named_model(row.shares, row.dormant, agent)):  # most have none
            unplaced = _with_unplaced(unplaced, hour, agent, row.status, events)
    return _replace(
        row,
        last_seq=last.seq,
        last_position=last.position,
        last_event_at=at,
        last_hash=last.hash,
        process_at=at,
        progress_at=at,
        expected_at=None,
        output_at=at if deltas else row.output_at,
        seen_at=seen_after(row, at),
        silent_at=None,
        unplaced=unplaced,
        **changes,
    )


def is_of_others(facts: Facts) -> bool:
    """Whether an event was told by another key than those whose run it is: what it has cost counts."""
    return facts.foreign or facts.by_other


def _place(row: RunRow, event: Event, agent: str | None, changes: dict[str, Any]) -> None:
    """What the roll-ups count without a model, because none is known yet: see `projections.usage`."""
    shares, model = changes.get("shares", row.shares), changes.get("model", row.model)
    dormant = changes.get("dormant", row.dormant)
    cell = (hour_of(event), agent or "", changes.get("status", row.status).value)
    if row.first_model is None:
        if model is not None:
            changes |= {"first_model": model, "start_cell": None, "end_cell": None}
        else:
            if event.seq == 1:
                changes["start_cell"] = cell
            if "ended_at" in changes and not row.is_terminal():
                changes["end_cell"] = cell
    unplaced = row.unplaced
    if unplaced and shares is not row.shares:
        unplaced = tuple(one for one in unplaced if not has_named_model(shares, dormant, one[1]))
    effects = event.effects
    if not _tells_usage(effects) and not has_named_model(shares, dormant, agent):
        unplaced = _with_unplaced(unplaced, *cell, 1)
    changes["unplaced"] = unplaced


def has_named_model(shares: Mapping[str, AgentShare], dormant: Dormant | None, agent: str | None) -> bool:
    """Whether an agent has named a model, or what stood for it before it was known (`RunRow.model_of`)."""
    names = (agent or "", *PLACEHOLDER_AGENTS) if shares else ()
    found = (shares.get(name) or (None if dormant is None else dormant.share(name)) for name in names)
    return any(share is not None and share.model is not None for share in found)


def _with_unplaced(
    unplaced: tuple[Unplaced, ...], hour: int, agent: str, status: str, events: int
) -> tuple[Unplaced, ...]:
    """With so many events more in a cell. A new one for which there is no room is not remembered."""
    cell = hour, agent, status
    for index, known in enumerate(unplaced):
        if known[:3] == cell:
            return (*unplaced[:index], (*cell, known[3] + events), *unplaced[index + 1 :])
    return (*unplaced, (hour, agent, status, events)) if has_room_for_cell(unplaced, agent) else unplaced


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
        changes["sends_heartbeats"] = row.sends_heartbeats or not effects.of_server
        return
    changes |= {"progress_at": at, "expected_at": None}
    if not event.facts.by_other:
        changes["idle"] = effects.idle
    if event.type is _MESSAGE_DELTA:
        changes["output_at"] = at


def _fill(row: RunRow, effects: Effects, changes: dict[str, Any]) -> None:
    found = {"model": effects.model, "parent_key": effects.parent_key}
    changes |= {name: value for name, value in found.items() if getattr(row, name) is None and value is not None}
    if effects.metadata is not msgspec.UNSET:
        changes["metadata"] = metadata_after(row, effects.metadata, late=True)
    changes |= {
        "implicit": False,
        "composite": effects.composite,
        "started_again": row.started_again or effects.starts_again,
    }


def _fold_effects(
    row: RunRow, event: Event, agent: str | None, changes: dict[str, Any], shares: dict[str, Any] | None
) -> None:
    effects = event.effects
    is_models = effects.model is not None and not is_of_others(event.facts)
    if is_models and (row.model is None or not _failed_at_once(event)):
        changes["model"] = effects.model
    if effects.parent_key is not None and row.parent_key is None:
        changes["parent_key"] = effects.parent_key
    if effects.is_start:
        changes["implicit"] = False
    if effects.reporter_key is not None:
        changes["reporter_key"] = effects.reporter_key
    if effects.composite:
        changes["composite"] = True
    if effects.starts_again:
        changes["started_again"] = True
    if effects.metadata is not msgspec.UNSET:
        changes["metadata"] = metadata_after(row, effects.metadata)
    if effects.rate_limited:
        changes["rate_limited"] = row.rate_limited + 1
    if effects.lane is not None:
        _fold_lane(effects, changes)
    if effects.checkpoint is not None or _tells_usage(effects):
        changes |= parts_after(row, event.facts, agent, late=event.late) if shares is None else shares


def _tells_usage(effects: Effects) -> bool:
    is_told = effects.report is not None or effects.model is not None
    return is_told or effects.repriced is not None or effects.uncounted


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
        changes["phase"] = clipped(lane.phase, MAX_PHASE_BYTES)


def parts_after(row: RunRow, facts: Facts, agent: str | None, *, late: bool = False) -> dict[str, Any]:
    """What an event with these facts changes of what was told of a run's usage, and its totals (`usage`).

    After the end it counts as before it: a failed run has a cost too. The model of what another key tells is that of
    its event alone, and not of the agent.
    """
    effects = facts.effects or NO_EFFECTS
    model = None if is_of_others(facts) else effects.model
    has_step = effects.checkpoint is not None and (not late or checkpoints.is_kept_late(effects.checkpoint, row))
    after = _spending_after(row.spending(), effects, model, agent or DEFAULT_AGENT, has_step)
    usage, cells = row.usage, row.computed_cells
    if effects.report is not None or effects.repriced is not None:
        target = after.usage() if (of := effects.repriced) is None else computed_costs.moved_by(usage, of.counted)
        if effects.recount is not None and effects.report is not None:
            change = effects.report.usage
            usage, cells = computed_costs.totals_recounted(row, target, change, agent or "", effects.recount)
        else:
            usage, cells = computed_costs.totals_after(row, target, agent or "", of)
        if (usage.computed_nanos or 0) > (target.computed_nanos or 0):
            after = after.flagged(COMPUTED_KEPT)
    if effects.uncounted:
        after = after.flagged(CALLS_FORGOTTEN)
    version = merged_version(row.price_version, effects.version_computed_with())
    return {
        "shares": after.shares,
        "retired": after.retired,
        "dormant": after.dormant,
        "run_total": after.run_total,
        "run_sides": after.run_sides,
        "process_cost": after.process_cost,
        "process": row.process if effects.report is None else effects.report.process or row.process,
        "usage_flags": after.flags,
        "computed_total": after.computed_total,
        "run_rest": after.run_rest,
        "usage": usage,
        "computed_cells": cells,
        "price_version": None if usage.computed_nanos is None else version,
    }


def _spending_after(spending: Spending, effects: Effects, model: str | None, agent: str, has_step: bool) -> Spending:
    checkpoint = effects.checkpoint
    if checkpoint is not None and checkpoint.decision:
        waits = checkpoint.status == AWAITED and not checkpoint.left
        spending, checkpoint = spending.decided(checkpoint.agent or agent, checkpoint.step_index, waits), None
    if effects.repriced is not None:
        return spending.repriced(effects.repriced, agent)
    if effects.report is not None:
        step = None if checkpoint is None else checkpoint.step_index
        again = checkpoint is not None and checkpoint.again
        spending = spending.after(effects.report, agent, step, effects.priced, again=again)
    share = before = spending.shares.get(agent) or spending.share_made(agent)
    if checkpoint is not None and has_step:
        share = share.at(checkpoint.step_index, checkpoint.status == AWAITED and not checkpoint.left)
    if model is not None and model != share.model:
        share = _replace(share, model=model, several_models=share.several_models or share.model is not None)
    return spending if share is before else spending.with_share(agent, share)


def tools_after(open_tools: tuple[OpenTool, ...], event: Event) -> tuple[OpenTool, ...]:
    """The calls without a result, after a tool call or a result; and the steps without an end."""
    facts, begins = event.facts, event.type is _TOOL_CALL
    if event.type in TOOL_TYPES:
        tool, call_id = facts.tool or "", facts.tool_call_id or ""
        if len(call_id) > MAX_OPEN_ID_CHARS:
            call_id = long_call_id(call_id)
    else:
        begins, name = facts.begins is not None, facts.begins or facts.ends
        if name is None:
            return open_tools
        tool = call_id = step_key(name)
    if begins:
        overlaps = False
        for call in open_tools:
            overlaps = overlaps or call.tool == tool
        if overlaps:
            open_tools = tuple(_replace(call, overlaps=True) if call.tool == tool else call for call in open_tools)
        made = OpenTool(tool, call_id, event.recorded_at, event.told_at(), overlaps)
        # The oldest are most likely calls whose result was never sent.
        return newest_tools((*open_tools, made)[-MAX_OPEN_TOOLS:])
    if not open_tools:
        return ()
    return tuple(call for call in open_tools if call.call_id != call_id)
