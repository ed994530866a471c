"""Drafts of checkpoints: which one a decision is about, what is stored already, and what that means for one more."""

from __future__ import annotations

import msgspec

from towerlog.engine.ingest.dedupe import late_checkpoint_id, stored_before, waits_without_history
from towerlog.engine.ingest.origins import resuming
from towerlog.engine.ingest.restarts import as_start, is_of_next_run
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.engine.reactions.next_runs import tells_state
from towerlog.model.agent import AgentRow
from towerlog.model.checkpoint import AWAITS_APPROVAL
from towerlog.model.event import Draft
from towerlog.model.facts import LATEST_STEP, NO_EFFECTS, some, with_effects
from towerlog.model.outcome import Stored
from towerlog.model.run import RunRow
from towerlog.projections.checkpoints import is_kept_late

_replace = msgspec.structs.replace


def placed_state(
    plan: Plan, run_state: RunState | None, draft: Draft, agent: AgentRow, event_id: str | None
) -> Stored | tuple[Draft, RunState | None, str | None]:
    """The draft of a checkpoint or a decision, its run, None for one that it begins, and the id to store it under.

    Or what it is answered with, if it adds nothing.
    """
    draft = at_latest_step(plan, draft, run_state)
    if run_state is None:
        return draft, None, event_id
    row = run_state.row
    if is_of_next_run(plan, row, draft, agent.name):
        return resuming(as_start(draft), row), None, event_id
    found = same_checkpoint(plan, run_state, draft, agent, event_id)
    if isinstance(found, Stored):
        return found
    tells_state(plan, row, draft, agent.name)
    return against_known(plan, draft, row, agent.name), run_state, found


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


def against_known(plan: Plan, draft: Draft, row: RunRow, agent: str) -> Draft:
    """A checkpoint held against what this agent has told in the run. `row`: before it."""
    return _overtaken(plan, _with_held(plan, draft, row, agent), row, agent)


def _overtaken(plan: Plan, draft: Draft, row: RunRow, agent: str) -> Draft:
    """One below the newest step of its agent says nothing of where that stands now: posts may overtake each other.

    The attempts of a run with a lane begin anew, and each sends in order: there a state that works still says so.
    """
    facts, share = draft.effects.checkpoint, row.share(agent)
    if facts is None or facts.decision or facts.initial or share is None or facts.step_index >= share.step_index:
        return draft
    known, waits = plan.checkpoint(row.run, agent, facts.step_index), facts.status == AWAITS_APPROVAL
    told = _replace(facts, left=waits, again=known is not None and not known.initial)
    moves = row.has_lane and not waits
    status, idle = (draft.effects.status, draft.effects.idle) if moves else (None, row.idle)
    return _replace(draft, facts=with_effects(draft.facts, checkpoint=told, status=status, idle=idle))


def _with_held(plan: Plan, draft: Draft, row: RunRow, agent: str) -> Draft:
    """A wait for approval that came without a history keeps the newest one of its agent, to resume from."""
    facts, share = draft.effects.checkpoint, row.share(agent)
    if facts is None or not waits_without_history(facts) or share is None or share.step_index < 0:
        return draft
    before = plan.checkpoint(row.run, agent, share.step_index)
    if before is None or not before.resume_state().length:
        return draft
    held = _replace(facts, held=before.resume_state())
    return _replace(draft, facts=with_effects(draft.facts, checkpoint=held))
