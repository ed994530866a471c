"""The run that a run gets as its parent. Of parents that are each other's, the link that would close a circle is not
made, so that every run has a top; and a child stays below the run that its parent's trace meant when the child told it.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.load.misses import NotLoaded
from towerlog.engine.load.own_runs import MAX_CLIMB, ref_of_parent, rows_above
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Draft, NamedRun, RunByForeignId, RunByTrace, RunRef
from towerlog.model.facts import Effects, some, with_effects
from towerlog.model.run import PARENT_FOREIGN, PARENT_RUN, PARENT_TRACE, RunRow

CLOSES_A_CIRCLE = "names a run that stands below this one"
_MEMBERS = {PARENT_TRACE: "parent_trace_id", PARENT_FOREIGN: "parent_run_key", PARENT_RUN: "parent_run_id"}


def with_parent(plan: Plan, org: int, row: RunRow | None, draft: Draft) -> tuple[Draft, tuple[tuple[str, str], ...]]:
    """The draft with the run that it names as its parent by a trace, which may mean a later one soon; without one that
    stands below its run, and what its sender is told then: member and why.

    `row`: its run, None where it begins with this draft.
    """
    effects = draft.effects
    key = effects.parent_key
    if key is None or (row is not None and row.parent_key is not None):
        return draft, ()
    if not _closes(plan, org, row, draft.run, key):
        return _below(plan, org, row, draft, key), ()
    member = next(name for prefix, name in _MEMBERS.items() if key.startswith(prefix))
    kept: Effects | None = some(msgspec.structs.replace(effects, parent_key=None))
    facts = msgspec.structs.replace(draft.facts, effects=kept)
    return msgspec.structs.replace(draft, facts=facts), ((member, CLOSES_A_CIRCLE),)


def _below(plan: Plan, org: int, row: RunRow | None, draft: Draft, key: str) -> Draft:
    ref = ref_of_parent(key, getattr(draft.run, "thread_id", "") if row is None else row.thread_id)
    parent = plan.run(org, ref) if isinstance(ref, RunByTrace) else None
    if parent is None:
        return draft
    return msgspec.structs.replace(draft, facts=with_effects(draft.facts, parent_key=PARENT_RUN + parent.run_id))


def _closes(plan: Plan, org: int, row: RunRow | None, ref: RunRef, key: str) -> bool:
    """Whether a run that gets this parent would stand below itself. More parents than MAX_CLIMB are not looked at."""
    thread_id = getattr(ref, "thread_id", "") if row is None else row.thread_id
    names = _names_of(row, ref)
    for _ in range(MAX_CLIMB):
        if key in names and (thread_id == names[key] or not key.startswith(PARENT_TRACE)):
            return True
        above_ref = ref_of_parent(key, thread_id)
        above = None if above_ref is None else _run(plan, org, above_ref)
        if above is None or above.parent_key is None:
            return False
        thread_id, key = above.thread_id, above.parent_key
    return False


def _run(plan: Plan, org: int, ref: NamedRun) -> RunRow | None:
    """A run. Raises NotLoaded, with those above it: one of them leads to the next."""
    try:
        return plan.run(org, ref)
    except NotLoaded as missing:
        missing.way = (_ask_above, (org, ref))
        raise


def _ask_above(needs: Needs, named: tuple[int, NamedRun]) -> None:
    org, ref = named
    row = needs.run(org, ref)
    if row is not None:
        rows_above(row, lambda above: needs.run(org, above))


def _names_of(row: RunRow | None, ref: RunRef) -> dict[str, str]:
    """What a child may call its parent → the thread in which that name holds."""
    if row is None:
        found = {PARENT_TRACE + ref.trace_id: ref.thread_id} if isinstance(ref, RunByTrace) else {}
        return found | ({PARENT_FOREIGN + ref.foreign_id: ""} if isinstance(ref, RunByForeignId) else {})
    of_sender = {} if row.foreign_id is None else {PARENT_FOREIGN + row.foreign_id: ""}
    return {PARENT_TRACE + row.trace_id: row.thread_id, PARENT_RUN + row.run_id: "", **of_sender}
