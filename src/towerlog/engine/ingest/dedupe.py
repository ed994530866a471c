"""Repeats: what was stored before, under an id or a natural key, and what only looks so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from towerlog.engine.control.rights import as_foreign, has_own_ids, own_id, told_id
from towerlog.engine.ingest.content import has_base, keep_history
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.model.chain import content_digest
from towerlog.model.checkpoint import AWAITS_APPROVAL
from towerlog.model.content import same_json, without_blanks
from towerlog.model.event import (
    NATURAL,
    TARGET_STATUS,
    Draft,
    Event,
    EventType,
    Item,
    OpenRun,
    Refusal,
    RunById,
    RunByTrace,
    StoredHistory,
    id_of_key,
)
from towerlog.model.facts import CheckpointFacts, Facts, some, with_effects
from towerlog.model.outcome import Stored
from towerlog.model.principal import Principal
from towerlog.model.run import TERMINAL, RunRow
from towerlog.store.lookup_keys import Respelled
from towerlog.store.values import Kind

REMEMBERED_RUNS = 8
"""How many of a thread's newest runs a repeat without a run id is looked for in."""


def starts_new_run(row: RunRow, draft: Draft) -> bool:
    """A start for a run that was started and has ended begins a new one; a start that was overtaken does not."""
    ref = draft.run
    reopens = isinstance(ref, RunByTrace | OpenRun) and ref.reopen
    return reopens and row.is_terminal() and not (row.implicit and draft.effects.is_start)


def replayed_in(
    plan: Plan,
    principal: Principal,
    items: list[Item],
    index: int,
    lives: Sequence[RunRow],
    fits: Callable[[RunRow, list[Item]], bool],
) -> RunRow | None:
    """The run that a start or an end belongs to as a part of a whole batch sent again: it has ended, its very end
    stands in the batch, and what comes between them was told as well.

    Otherwise a start for an ended run begins a new one. The same work at another time, where both ends were told with
    their times, is no repeat. `lives`: the run that the item's reference means, and those before it; `fits`: whether
    what comes between is of such a run by itself.
    """
    first = next((at for at in range(index, -1, -1) if _opens(items[at])), None)
    if first is None:
        return None
    for row in lives:
        for at, item in enumerate(items[first + 1 :] if row.is_terminal() else (), first + 1):
            if isinstance(item, Draft) and item.natural_key is not None and _ends(item, row):
                ids = (NATURAL + item.natural_key, *_own_ids(principal, row, item))
                stored = [plan.event_by_id(row.run, one) for one in ids]
                if any(one is not None and may_repeat(one, item) and same_content(plan, one, item) for one in stored):
                    between = items[first + 1 : at]
                    if at < index or has_news(plan, principal, row, between, lives[0].run) or not fits(row, between):
                        break
                    return row
    return None


def _opens(item: Item) -> bool:
    """Whether it is the start of a run whose name may mean a further one then."""
    return isinstance(item, Draft) and item.natural_key is not None and bool(getattr(item.run, "reopen", False))


def may_repeat(event: Event, draft: Draft) -> bool:
    """Whether its sender does not say that it happened at another time."""
    return None in (event.occurred_at, draft.occurred_at) or event.occurred_at == draft.occurred_at


def _own_ids(principal: Principal, row: RunRow, draft: Draft) -> tuple[str, ...]:
    """Under which of its sender's own ids a draft may be stored."""
    own = own_id(principal, draft) if row.has_lane else None
    return () if own is None else (own,)


def has_news(plan: Plan, principal: Principal, row: RunRow, items: list[Item], meant: int | None = None) -> bool:
    """Whether some items of a batch tell of a run what it has not: a state, or an event under an id of its own.

    An event without an id is stored each time that it is sent, so it says nothing of a repetition. `meant`: the run
    whose items these are by name, where that is a later one.
    """
    meant = row.run if meant is None else meant
    states: dict[tuple[str, int], Draft] = {}
    for item in items:
        found = plan.run_state(row.org, item.run) if isinstance(item, Draft) else None
        if not isinstance(item, Draft) or found is None or found.row.run != meant:
            continue
        facts = item.effects.checkpoint
        if item.event_id is not None:
            ids = (item.event_id, *_own_ids(principal, row, item))
            if all(plan.event_by_id(row.run, one) is None for one in ids):
                return True
        elif facts is not None and item.type is EventType.CHECKPOINT:
            # What a batch says last of a step is what is left of it.
            states[(item.agent or row.agent or item.agent_default, facts.step_index)] = item
    return any(_is_new_state(plan, row, agent, step, draft) for (agent, step), draft in states.items())


def _is_new_state(plan: Plan, row: RunRow, agent: str, step: int, draft: Draft) -> bool:
    if draft.history is not None and not has_base(plan, row.org, draft.history):
        return True  # of what goes on from what is not stored, nothing can be stored
    known = None if row.is_first_step(agent, step) else plan.checkpoint(row.run, agent, step)
    told = with_history(plan, row.org, draft).effects.checkpoint
    return known is None or told is None or known.digest != told.digest


def _ends(draft: Draft, row: RunRow) -> bool:
    same_thread = not isinstance(draft.run, RunById) and draft.run.thread_id == row.thread_id
    return same_thread and TARGET_STATUS.get(draft.type) in TERMINAL


def has_older_runs(plan: Plan, org: int, thread_id: str) -> bool:
    """Whether a thread's open run is not its first."""
    thread = plan.thread(org, thread_id)
    return thread is not None and thread.run_count > 1


def run_of_repeat(plan: Plan, principal: Principal, thread_id: str, draft: Draft) -> RunState | None:
    """The run of a thread that has an event under a draft's id already.

    "The thread's open run" is another one by the time a repeat comes: the repeat still belongs to the first.
    """
    for stored in plan.loaded(Kind.THREAD_RUNS, (principal.org, thread_id, REMEMBERED_RUNS)):
        ids = (str(draft.event_id), *_own_ids(principal, stored, draft))
        if any(plan.event_by_id(stored.run, one) is not None for one in ids):
            return plan.run_state_of(stored.run)
    return None


def with_history(plan: Plan, org: int, draft: Draft) -> Draft:
    """The draft of a checkpoint with its history kept, its node and its digest filled in."""
    facts = draft.effects.checkpoint
    if facts is None or facts.decision:
        return draft
    kept = StoredHistory(b"", 0, b"") if draft.history is None else keep_history(plan, org, draft.history)
    digest = hashlib.sha256(kept.node + kept.metas + figures_of(draft)).hexdigest()
    filled = msgspec.structs.replace(
        facts, node=kept.node.hex(), length=kept.length, metas=kept.metas.hex(), digest=digest
    )
    return msgspec.structs.replace(draft, facts=with_effects(draft.facts, checkpoint=filled), history=None)


def late_checkpoint_id(agent: str, facts: CheckpointFacts) -> str:
    """The natural key of one that came after its run's end and left no row there, to compare a repeat with."""
    return f"{NATURAL}checkpoint{NATURAL}{agent}{NATURAL}{facts.step_index}{NATURAL}{facts.digest}"


def waits_without_history(facts: CheckpointFacts) -> bool:
    """Whether a checkpoint waits for approval and has no history of its own."""
    return facts.status == AWAITS_APPROVAL and not facts.length and not facts.decision


def told_before(
    plan: Plan, principal: Principal, run_state: RunState, draft: Draft, replayed: bool
) -> Stored | Refusal | None:
    """What a repeat is answered with; None for news."""
    if run_state.row.has_lane:
        seen = _told_as_own(plan, principal, run_state.row, draft, replayed)
        if seen is not None:
            return seen
    return seen_before(plan, run_state, draft, replayed)


def kept_under(plan: Plan, principal: Principal, run_state: RunState | None, draft: Draft) -> str | None:
    """Event id to store: as sent, or prefixed by the sender's key. None for an event without one, and where something
    else that happens once has it."""
    told = told_id(draft)
    if told is None or run_state is None:
        return told
    row = run_state.row
    if row.has_lane and has_own_ids(plan, principal, row):
        told = id_of_key(principal.key_id, told)
    return None if draft.event_id is None and plan.event_by_id(row.run, told) is not None else told


def seen_before(plan: Plan, run_state: RunState, draft: Draft, replayed: bool) -> Stored | Refusal | None:
    """What a repeat is answered with; None for news."""
    row = run_state.row
    if draft.event_id is not None:
        event = plan.event_by_id(row.run, draft.event_id)
        if event is None:
            return None
        if same_content(plan, event, draft):
            return stored_before(event, row)
        return _reused(draft.event_id)
    event = plan.event_by_id(row.run, NATURAL + str(draft.natural_key))
    if event is not None and same_content(plan, event, draft) and (replayed or not starts_new_run(row, draft)):
        return stored_before(event, row)
    return None


def _told_as_own(
    plan: Plan, principal: Principal, row: RunRow, draft: Draft, replayed: bool
) -> Stored | Refusal | None:
    """What is answered to who has told the same under an id of its own, whoever holds the run by now; None for news.

    What happens once is told anew by who has come to hold the run: then it counts. `row` has a lane.
    """
    [own] = _own_ids(principal, row, draft) or (None,)
    event = None if own is None else plan.event_by_id(row.run, own)
    if event is None:
        return None
    is_same = same_content(plan, event, draft)
    if draft.event_id is not None:
        return stored_before(event, row) if is_same else _reused(draft.event_id)
    is_repeat = is_same and has_own_ids(plan, principal, row) and (replayed or not starts_new_run(row, draft))
    return stored_before(event, row) if is_repeat else None


def _reused(event_id: str) -> Refusal:
    return Refusal("id_reused", f"event id {event_id!r} was used before with another body", "event_id")


def stored_before(event: Event, row: RunRow, agent: str | None = None) -> Stored:
    """The answer to a repeat: the place that the first one got."""
    name, foreign = agent or row.agent, event.facts.foreign
    return Stored(event.position, event.seq, row.run_id, name, True, event.late, row.pending, foreign)


def as_other(draft: Draft) -> Draft:
    """A withdrawal of what is not open, as it is kept: an event that withdraws nothing, under its own name."""
    effects = msgspec.structs.replace(draft.effects, question_id=None, question_key=None)
    facts = msgspec.structs.replace(draft.facts, name=draft.type.value, effects=some(effects))
    return msgspec.structs.replace(draft, type=EventType.OTHER, facts=facts)


def is_kept_as_other(event: Event, draft: Draft) -> bool:
    """Whether a stored event may be what `as_other` has made of a draft."""
    withdraws = draft.type is EventType.RUN_QUESTION_WITHDRAWN
    return withdraws and event.type is EventType.OTHER and event.facts.name == draft.type.value


def same_content(plan: Plan, event: Event, draft: Draft) -> bool:
    """Whether a stored event is what the draft would be: type and body, in whichever spelling a short body is.

    Of an event of this very group, which is not stored yet, the spelling counts.
    """
    if event.type is EventType.ERASED:
        return True  # under the same id: what it said is gone, and must not come back by being sent again
    if event.facts.foreign:
        draft = as_foreign(draft)  # a repeat is answered as the first was, whoever holds the run by now
    elif is_kept_as_other(event, draft):
        draft = as_other(draft)
    if event.type is not draft.type or event.facts.name != draft.facts.name:
        return False
    if not _same_state(event.facts, draft.facts):
        return False
    if event.content == content_of(draft):
        return True
    repeat = respelled(event, draft)
    return repeat is not None and not event.data and bool(plan.loaded(Kind.SAME, repeat))


def content_of(draft: Draft) -> bytes:
    """The digest of a draft's body."""
    return draft.content or content_digest(draft.data)


def figures_of(draft: Draft) -> bytes:
    """What stands for the figures of a checkpoint in the digest of its state: the same wherever it was prepared."""
    short = without_blanks(draft.data)
    return content_of(draft) if short is None else msgspec.json.format(short, indent=-1)


def respelled(event: Event, draft: Draft) -> Respelled | None:
    """What is to be compared of a draft under the id of a stored event; None where its digest says all."""
    if event.event_id is None or event.content == content_of(draft):
        return None
    text = without_blanks(draft.data)
    if text is None:
        return None
    added: tuple[str, ...] = ()
    if draft.type is EventType.RUN_WAITING:
        added = ("question_id",)
    elif _is_named_here(draft) and b'"tool_call_id"' not in draft.data:
        added = ("tool_call_id",)
    return Respelled(event.run, event.event_id, text, added)


def same_end(event: Event, draft: Draft) -> bool:
    """Whether an end is the one that its run has ended with: the same type and the same result, null being none.

    A long result has to be spelled as it was.
    """
    if event.type is not draft.type:
        return False
    if event.data == draft.data:
        return True
    ours, theirs = without_blanks(event.data), without_blanks(draft.data)
    return ours is not None and theirs is not None and same_json(ours, theirs, with_nulls=False)


def _is_named_here(draft: Draft) -> bool:
    """A tool call whose sender gave it no usable id: one was made here."""
    return draft.type in (EventType.TOOL_CALL, EventType.TOOL_RESULT) and draft.facts.tool_call_id is None


def _same_state(ours: Facts, theirs: Facts) -> bool:
    return _digest(ours) == _digest(theirs)


def _digest(facts: Facts) -> str | None:
    checkpoint = None if facts.effects is None else facts.effects.checkpoint
    return None if checkpoint is None or checkpoint.decision else checkpoint.digest
