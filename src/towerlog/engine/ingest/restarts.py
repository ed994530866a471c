"""A runner that was restarted and goes on under the trace that its open run has: what it tells is of a new run.

Some runners name all their runs of a thread alike, and count steps and tokens from nothing in each. If such a run never
told its end, the start of the next one is word for word what was told before, as is a post that is sent again. A sender
that says when a start happened has said which of the two it is: at the same moment it is the same. Else it is seen by
what follows: a step that was told before, now with another history, is that of a new run.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import msgspec

from towerlog.engine.ingest.dedupe import has_news, may_repeat, replayed_in, same_content, with_history
from towerlog.engine.load.lives import earlier_lives
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.model.chain import content_digest
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import NATURAL, Draft, Event, EventType, Item, OpenRun, RunById, RunByTrace
from towerlog.model.facts import CheckpointFacts, Effects, Facts, with_effects
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow
from towerlog.model.times import told_time

_replace = msgspec.structs.replace
STARTED_AGAIN_WITHIN = 16
"""How many of the last events of a run are looked through for the start that was told again, and began the next one."""


def happens_once(plan: Plan, principal: Principal, items: list[Item], index: int, draft: Draft) -> tuple[Draft, bool]:
    """A draft of what happens once in a run, as what it is there: of one that was told before, of the run that has it;
    of a start that is told once more of an open run, an event that says no more. And whether it was told before.

    `draft`: the item at `index`.
    """
    run_state = plan.run_state(principal.org, draft.run) if isinstance(draft.run, RunByTrace | OpenRun) else None
    if run_state is None:
        return draft, False
    lives = [run_state.row, *_earlier(plan, run_state.row, draft)]
    opens = getattr(draft.run, "reopen", False)
    fits = partial(_fits, plan, lives)
    life = replayed_in(plan, principal, items, index, lives, fits) if opens or len(lives) > 1 else None
    if not opens:
        is_older = life is not None and life is not lives[0] and draft.event_id is None
        return (_of_life(draft, life), True) if is_older and life is not None else (draft, False)
    known = _known_start(plan, draft, lives, life)
    if known is not None:
        return known, True
    if life is not None and draft.event_id is None:  # its own start was lost, or is kept elsewhere
        return _of_life(draft, life), True
    return (draft, True) if life is not None else (start_told_again(plan, principal, items, index, draft), False)


def _fits(plan: Plan, lives: list[RunRow], life: RunRow, items: list[Item]) -> bool:
    """Whether the items of a batch are those of an earlier run by themselves: what may be news of the newest is."""
    if life is lives[0]:
        return True
    states = [one for one in items if isinstance(one, Draft) and one.type is EventType.CHECKPOINT]
    found = [(one, plan.run_state(life.org, one.run)) for one in states]
    told = [with_history(plan, life.org, one) for one, of in found if of is not None and of.row.run == lives[0].run]
    return (bool(told) or lives[0].is_terminal()) and all(_that_has(plan, one, lives) is life for one in told)


def _earlier(plan: Plan, row: RunRow, draft: Draft) -> list[RunRow]:
    def find(ref: RunById) -> RunRow | None:
        found = plan.run_state(row.org, ref)
        return None if found is None else found.row

    return [] if row.has_lane else earlier_lives(row, draft.run, find)


def _of_life(draft: Draft, life: RunRow) -> Draft:
    """The draft as one of this very run, in which it begins no other one."""
    return _replace(draft, run=RunById(life.run_id))


def _known_start(plan: Plan, draft: Draft, lives: list[RunRow], replayed: RunRow | None) -> Draft | None:
    """A start that was told before, as what it is stored as: by its own id, or at the same moment.

    That of a run which was told again stands in the run before it. `replayed`: the run of a batch that is sent again.
    """
    after: RunRow | None = None
    for row in lives:
        own = _own(plan, row, draft) if draft.event_id is None and row.started_again else None
        ids = (NATURAL + str(draft.natural_key), own) if draft.event_id is None else (draft.event_id,)
        for one, begins in zip(ids, (row, after), strict=False):
            event = None if one is None else plan.event_by_id(row.run, one)
            if event is None:
                continue
            told = _again(draft, str(one)) if event.type is EventType.OTHER else with_history(plan, row.org, draft)
            is_it = draft.event_id is not None or _is_at(event, draft) or (begins is not None and begins is replayed)
            if is_it and same_content(plan, event, told):
                return _of_life(told, row)
        after = row
    return None


def _is_at(event: Event, draft: Draft) -> bool:
    """Whether its sender says of both that they happened at one moment."""
    return draft.occurred_at is not None and event.occurred_at == draft.occurred_at


def _own(plan: Plan, row: RunRow, draft: Draft) -> str | None:
    """The id of a start that is told once more in the state which a run has. None for a run without one."""
    latest = row.latest_step()
    state = None if latest is None else plan.checkpoint(row.run, *latest)
    if state is None:
        return None
    return NATURAL.join(("", str(draft.natural_key), state.digest, content_digest(draft.data).hex()))


def _again(draft: Draft, event_id: str) -> Draft:
    """A start that is told once more, as it is kept."""
    facts = Facts(name=draft.natural_key, effects=Effects(starts_again=True))
    return _replace(draft, type=EventType.OTHER, facts=facts, natural_key=None, event_id=event_id)


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
    own = _own(plan, row, draft)
    return draft if own is None else _again(draft, draft.event_id or own)


def _began_at(plan: Plan, row: RunRow, draft: Draft) -> int | None:
    """When, by its sender's clock, the start of a run happened that is there."""
    ids = (draft.event_id, NATURAL + str(draft.natural_key))
    found = (plan.event_by_id(row.run, one) for one in ids if one is not None)
    return next((event.occurred_at for event in found if event is not None), None)


def in_its_life(plan: Plan, draft: Draft, run_state: RunState) -> tuple[Draft, RunState]:
    """A draft whose reference has meant several runs, and that of them to which it belongs: which has it already, or
    which was the one at the time that its sender tells. `run_state`: the one that is meant now.
    """
    row = run_state.row
    earlier = _earlier(plan, row, draft)
    if not earlier:
        return draft, run_state
    lives = [row, *earlier]
    life = _that_has(plan, draft, lives) or _at_time(plan, draft, lives)
    if life is None or life is row:
        return draft, run_state
    return _of_life(draft, life), plan.run_state_of(life.run) or run_state


def _that_has(plan: Plan, draft: Draft, lives: list[RunRow]) -> RunRow | None:
    """The run that has what a draft tells: under its id, or by what it is."""
    if draft.event_id is not None:
        for row in lives:
            event = plan.event_by_id(row.run, draft.event_id)
            if event is not None and (row is lives[0] or same_content(plan, event, draft)):
                return row
        return None
    if draft.natural_key is not None:
        return _that_ended(plan, draft, lives)
    facts = draft.effects.checkpoint
    return None if facts is None or facts.initial or facts.decision else _that_was_there(plan, draft, facts, lives)


def _that_ended(plan: Plan, draft: Draft, lives: list[RunRow]) -> RunRow | None:
    """The run that has ended at the very moment. Where nobody tells a time, one that has ended so, once the newest has
    told another end of its own."""
    if getattr(draft.run, "reopen", False):
        return None  # see `_known_start`
    key, unlike = NATURAL + str(draft.natural_key), False
    for row in lives:
        event = plan.event_by_id(row.run, key)
        same = event is not None and same_content(plan, event, draft)
        if event is not None and same and (_is_at(event, draft) or (unlike and may_repeat(event, draft))):
            return row
        if row is lives[0]:
            unlike = event is not None and not same
    return None


def _that_was_there(plan: Plan, draft: Draft, facts: CheckpointFacts, lives: list[RunRow]) -> RunRow | None:
    """The run that was in this very state: at the same moment, or, where nobody tells a time, on its own way there."""
    newest, agent = lives[0], draft.agent or lives[0].agent or draft.agent_default
    for row in lives:
        known = _state(plan, row, agent, facts.step_index)
        if known is None or known.digest != facts.digest:
            continue
        if row is newest:
            return row
        event = None if draft.occurred_at is None else plan.event_at(row.run, known.seq)
        told_at = None if event is None else event.occurred_at
        if told_at is None and facts.length and _has_parted(plan, newest, row, agent, facts.step_index):
            return row
        if told_at is not None and told_at == draft.occurred_at:
            return row
    return None


def _has_parted(plan: Plan, newest: RunRow, row: RunRow, agent: str, step_index: int) -> bool:
    """Whether the newest run has been in another state than an earlier one, no later than at this step."""
    share = newest.share(agent)
    step = -1 if share is None else min(share.step_index, step_index)
    ours, theirs = _state(plan, newest, agent, step), _state(plan, row, agent, step)
    return ours is not None and theirs is not None and ours.node != theirs.node


def _state(plan: Plan, row: RunRow, agent: str, step_index: int) -> CheckpointRow | None:
    """What an agent has told of a step, None also where only its run's start stands there."""
    known = (
        None if step_index < 0 or row.is_first_step(agent, step_index) else plan.checkpoint(row.run, agent, step_index)
    )
    return None if known is None or known.initial else known


def _at_time(plan: Plan, draft: Draft, lives: list[RunRow]) -> RunRow | None:
    """The newest run that had begun by then, by its sender's clock; the first one where it is before all of them.

    None where that is the newest, or cannot be told. A start is that of a run whose own one was lost.
    """
    told_at = told_time(draft.occurred_at, plan.now_ms)
    if told_at is None:
        return None
    for row, before in pairwise([*lives, None]):
        began = None if row is None else _told_start(plan, row, before)
        if row is None or began is None or told_at >= began or before is None:
            is_older = row is not None and row is not lives[0]
            starts = draft.natural_key is not None and getattr(draft.run, "reopen", False)
            return row if is_older and row is not None and (row.implicit or not starts) else None
    return None


def _told_start(plan: Plan, row: RunRow, before: RunRow | None) -> int | None:
    """When a run began, as the start says that its sender has told; that of one that was told again stands in the run
    before it. None where no start is known."""
    first = plan.event_at(row.run, 1)
    if first is None or not first.effects.is_start:
        return None
    if first.type is EventType.RUN_STARTED or before is None or not before.started_again:
        return first.told_at()
    for seq in range(before.last_seq, max(0, before.last_seq - STARTED_AGAIN_WITHIN), -1):
        event = plan.event_at(before.run, seq)
        if event is not None and event.effects.starts_again:
            return event.told_at()
    return None


def is_of_next_run(plan: Plan, row: RunRow, draft: Draft, agent: str) -> bool:
    """Whether a checkpoint belongs to a run after that of its trace so far. `row`: the latter.

    A step that waits for approval may come without a history; so the newest step is told anew only by another one.
    Where no start was told, a run that has ended is left by a lower step that says more than it ever did.
    """
    facts, share = draft.effects.checkpoint, row.share(agent)
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
    share = row.share(agent)
    newest = None if share is None else plan.checkpoint(row.run, agent, share.step_index)
    return newest is not None and 0 < newest.length < facts.length


def as_start(draft: Draft) -> Draft:
    """A checkpoint that begins a run whose start was told: the run is not one of which only a part is known."""
    return _replace(draft, facts=with_effects(draft.facts, is_start=True))
