"""The name of a run's agent: which event gives it, and what goes to the agent then that was told before."""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.model.agent_share import AgentShare
from towerlog.model.facts import Facts
from towerlog.model.run import PLACEHOLDER_AGENTS, RunRow
from towerlog.model.running_totals import NO_SIDES
from towerlog.model.usage import NO_USAGE, add

_replace = msgspec.structs.replace
_NO_SHARE = AgentShare()


def names_agent(row: RunRow, agent: str | None) -> bool:
    """Whether this event is the first to name a real agent for its run."""
    if agent is None or row.agent == agent:
        return False
    return row.agent is None or (may_be_named(row) and agent not in PLACEHOLDER_AGENTS)


def may_be_named(row: RunRow) -> bool:
    """Whether no event has named a real agent for its run yet."""
    return row.agent is None or row.assumed_agent or row.agent in PLACEHOLDER_AGENTS


def may_go_on_from(after: RunRow, before: RunRow) -> bool:
    """Whether a run may go on from an open one before it: of the same agent alone, so far as both are named, or of one
    that has told states there; or begun under the same trace, whatever agent that names first."""
    if after.trace_id == before.trace_id or after.agent == before.agent or after.agent in before.shares:
        return True
    return may_be_named(after) or may_be_named(before)


def is_named_by(row: RunRow, facts: Facts, agent: str | None, *, late: bool) -> bool:
    """Whether an event with these facts names the agent of a run. After the end only a start does."""
    if facts.foreign or facts.part or (late and not _is_start(facts)):
        return False
    return names_agent(row, agent)


def _is_start(facts: Facts) -> bool:
    return facts.effects is not None and facts.effects.is_start


def named(row: RunRow, facts: Facts, agent: str | None, *, late: bool) -> RunRow:
    """The row before an event, with what was told before under the name that the event gives its agent.

    What stands for an agent until then has told running totals, increments and models: all of that is the agent's.
    """
    was = row.agent
    if was == agent and not row.assumed_agent:
        return row  # as with nearly all events
    if was is not None and was == agent and row.assumed_agent and _is_start(facts):
        return _replace(row, assumed_agent=False, assumed_cells=(), began_cell=None)  # named as what stood for it
    if was is None or agent is None or not is_named_by(row, facts, agent, late=late):
        return row
    changes: dict[str, Any] = {"agent": agent, "assumed_agent": False, "assumed_cells": (), "was_agent": was}
    known = row.spending() if row.dormant is None else row.spending().awake(was).awake(agent)
    shares = _renamed(known.shares, was, agent)
    if shares is not row.shares:
        changes |= {"shares": shares, "dormant": known.dormant}
    if row.start_cell is not None and row.start_cell[1] == was:
        changes["start_cell"] = (row.start_cell[0], agent, row.start_cell[2])
    changes |= {"began_cell": None, "calls": row.calls.renamed(was, agent)}
    cells = tuple(_replace(cell, agent=agent) if cell.agent == was else cell for cell in row.computed_cells)
    totals = tuple(_replace(one, agent=agent) if one.agent == was else one for one in row.told_totals)
    return _replace(row, computed_cells=cells, told_totals=totals, named_seq=row.last_seq + 1, **changes)


def _renamed(shares: dict[str, AgentShare], was: str, agent: str) -> dict[str, AgentShare]:
    """The shares with the figures of `was` under another name; its checkpoints, which are kept by name, stay its own.

    Two that have told running totals stay apart: each counts.
    """
    share, other = shares.get(was), shares.get(agent)
    if share is None or not (other is None or (_is_of_calls(share) and _is_of_calls(other))):
        return shares
    kept = AgentShare(step_index=share.step_index, awaited_step=share.awaited_step, step_agent=share.step_agent)
    moved = _replace(share, step_index=-1, awaited_step=-1, step_agent=None)
    if was in PLACEHOLDER_AGENTS:  # the model of all whose own is not known: see `RunRow.model_of`
        kept = _replace(kept, model=share.model, several_models=share.several_models)
        moved = _replace(moved, model=None, several_models=False)
    if other is not None:
        moved = _both(other, moved)
    found = {name: kept if name == was else one for name, one in shares.items() if name != agent}
    if kept == _NO_SHARE:
        del found[was]
    return found if moved == _NO_SHARE else found | {agent: moved}


def _both(share: AgentShare, more: AgentShare) -> AgentShare:
    return _replace(
        share,
        increments=add(share.increments, more.increments),
        computed=share.computed.plus(more.computed),
        model=share.model or more.model,
        several_models=share.several_models or more.several_models or None not in _models(share, more),
    )


def _models(share: AgentShare, other: AgentShare) -> tuple[str | None, str | None]:
    return (None, None) if share.model == other.model else (share.model, other.model)


def _is_of_calls(share: AgentShare) -> bool:
    """Whether it has no figures but increments."""
    return (share.totals, share.sides) == (NO_USAGE, NO_SIDES)
