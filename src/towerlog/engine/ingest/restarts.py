"""A runner that was restarted and goes on under the trace that its open run has: what it tells is of a new run.

Some runners name all their runs of a thread alike, and count steps and tokens from nothing in each. If such a run never
told its end, the start of the next one is word for word what was told before, as is a post that is sent again. A sender
that says when a start happened has said which of the two it is: at the same moment it is the same. Else it is seen by
what follows: a step that was told before, now with another history, is that of a new run.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.ingest.dedupe import has_news
from towerlog.engine.plan.plan import Plan
from towerlog.model.chain import content_digest
from towerlog.model.event import NATURAL, Draft, EventType, Item, OpenRun, RunByTrace
from towerlog.model.facts import CheckpointFacts, Effects, Facts, with_effects
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow

_replace = msgspec.structs.replace


def start_told_again(plan: Plan, principal: Principal, items: list[Item], index: int, draft: Draft) -> Draft:
    """The draft; of a start that is told once more of an open run which has a state, an event that says no more.

    Not that of a batch which was sent again: it brings the states that the run has. `draft`: the item at `index`.
    """
    checkpoint = draft.effects.checkpoint
    if checkpoint is None or not checkpoint.initial or not getattr(draft.run, "reopen", False):
        return draft
    run_state = plan.run_state(principal.org, draft.run)
    row = None if run_state is None else run_state.row
    latest = None if row is None else row.latest_step()
    if row is None or row.composite or row.has_lane or latest is None:
        return draft
    if row.implicit and row.is_terminal():  # its own, which was overtaken, or that of the next one: its own was lost
        return _replace(draft, facts=with_effects(draft.facts, starts_again=True))
    if row.implicit or row.is_terminal():
        return draft
    known = None if draft.event_id is None else plan.event_by_id(row.run, draft.event_id)
    state = plan.checkpoint(row.run, *latest)
    if state is None or state.initial or (known is not None and known.type is not EventType.OTHER):
        return draft
    if draft.occurred_at is not None and _began_at(plan, row, draft) == draft.occurred_at:
        return draft
    rest = items[index + 1 :]
    tells_states = any(isinstance(one, Draft) and one.type is EventType.CHECKPOINT for one in rest)
    if tells_states and not has_news(plan, principal, row, rest):
        return draft
    # Told a second time in this state of the run it is a repeat.
    own = NATURAL.join(("", str(draft.natural_key), state.digest, content_digest(draft.data).hex()))
    facts = Facts(name=draft.natural_key, effects=Effects(starts_again=True))
    told = _replace(draft, type=EventType.OTHER, facts=facts, natural_key=None)
    return _replace(told, event_id=draft.event_id or own)


def _began_at(plan: Plan, row: RunRow, draft: Draft) -> int | None:
    """When, by its sender's clock, the start of a run happened that is there."""
    ids = (draft.event_id, NATURAL + str(draft.natural_key))
    found = (plan.event_by_id(row.run, one) for one in ids if one is not None)
    return next((event.occurred_at for event in found if event is not None), None)


def is_of_next_run(plan: Plan, row: RunRow, draft: Draft, agent: str) -> bool:
    """Whether a checkpoint belongs to a run after that of its trace so far. `row`: the latter.

    A step that waits for approval may come without a history; so the newest step is told anew only by another one.
    Where no start was told, a run that has ended is left by a lower step that says more than it ever did.
    """
    facts, share = draft.effects.checkpoint, row.shares.get(agent)
    if facts is None or share is None or draft.type is not EventType.CHECKPOINT or row.has_lane or row.composite:
        return False
    if facts.decision or facts.step_index > share.step_index or not isinstance(draft.run, RunByTrace | OpenRun):
        return False
    is_lower = facts.step_index < share.step_index
    if not row.started_again:
        return row.is_terminal() and is_lower and _says_more(plan, row, facts, agent)
    known = plan.checkpoint(row.run, agent, facts.step_index)
    if known is None or known.initial:
        return is_lower and _says_more(plan, row, facts, agent)
    return known.node != facts.node and (is_lower or bool(known.length and facts.length))


def _says_more(plan: Plan, row: RunRow, facts: CheckpointFacts, agent: str) -> bool:
    """Whether its history is longer than that of the newest step: one that was overtaken is a part of that."""
    newest = plan.checkpoint(row.run, agent, row.shares[agent].step_index)
    return newest is not None and 0 < newest.length < facts.length


def as_start(draft: Draft) -> Draft:
    """A checkpoint that begins a run whose start was told: the run is not one of which only a part is known."""
    return _replace(draft, facts=with_effects(draft.facts, is_start=True))
