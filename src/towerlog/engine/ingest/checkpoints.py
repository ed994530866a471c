"""Drafts of checkpoints: which one a decision is about, and what is stored already."""

from __future__ import annotations

import msgspec

from towerlog.engine.ingest.dedupe import late_checkpoint_id, stored_before
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.model.agent import AgentRow
from towerlog.model.event import Draft
from towerlog.model.facts import LATEST_STEP, NO_EFFECTS, some, with_effects
from towerlog.model.outcome import Stored
from towerlog.projections.checkpoints import is_kept_late

_replace = msgspec.structs.replace


def at_latest_step(plan: Plan, draft: Draft, run_state: RunState | None) -> Draft:
    """A decision about the newest checkpoint names it; without one there is nothing to decide about."""
    facts = draft.effects.checkpoint
    if facts is None or not facts.decision or facts.step_index != LATEST_STEP:
        return draft
    latest = None if run_state is None else plan.row_of(run_state).latest_step()
    named = None if latest is None else _replace(facts, agent=latest[0], step_index=latest[1])
    found = with_effects(draft.facts, checkpoint=named)
    return _replace(draft, facts=_replace(found, effects=some(found.effects or NO_EFFECTS)))


def same_checkpoint(
    plan: Plan, run_state: RunState, draft: Draft, agent: AgentRow, event_id: str | None
) -> Stored | str | None:
    """The same checkpoint with the same content again stores nothing; else the id that it is to be stored under."""
    facts, row = draft.effects.checkpoint, run_state.row
    if facts is None or facts.decision:
        return event_id
    is_numbered = draft.facts.client_seq is not None  # its number has to arrive; a repeat of it is known by its id
    if not facts.initial and not is_numbered and not row.is_first_step(agent.name, facts.step_index):
        known = plan.checkpoint(row.run, agent.name, facts.step_index)
        if known is not None and not known.initial and known.digest == facts.digest:
            return Stored(known.position, known.seq, row.run_id, agent.name, True, False, row.pending)
    if event_id is None and row.is_terminal() and not is_kept_late(facts, row):
        event_id = late_checkpoint_id(agent.name, facts)
        event = plan.event_by_id(row.run, event_id)
        if event is not None:
            return stored_before(event, row, agent.name)
    return event_id
