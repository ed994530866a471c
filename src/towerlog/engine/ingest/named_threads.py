"""A run whose thread is named only after it has begun, as when other events overtook its start: it moves there.

It moves once, and only out of a thread that nobody has named and in which no other run stands.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Draft, RunByForeignId
from towerlog.model.facts import with_effects
from towerlog.model.run import RunRow

OF_THREAD = ""
"""Stands for the thread among the members that an event has no use for (`Stored.unused`)."""


def in_named_thread(plan: Plan, row: RunRow, draft: Draft) -> tuple[Draft, tuple[tuple[str, str], ...]]:
    """A draft that names another thread than its run's, as what moves the run; else with why the run stays."""
    ref, facts = draft.run, draft.facts
    if not isinstance(ref, RunByForeignId):
        return draft, ()
    # The first parent counts: the thread of another one is nothing to the run.
    is_its_parent = ref.of_parent and row.parent_key in (None, draft.effects.parent_key)
    may_move = row.unnamed_thread and (ref.names_thread or is_its_parent)
    if may_move and not facts.foreign and not facts.by_other:
        thread = plan.thread(row.org, row.thread_id)
        if thread is not None and thread.run_count == 1:
            plan.thread(row.org, ref.thread_id)  # what is not loaded yet is asked for before anything is placed
            return msgspec.structs.replace(draft, facts=with_effects(facts, thread_id=ref.thread_id)), ()
    if not ref.names_thread:
        return draft, ()
    others = ", with other runs" if row.unnamed_thread else ""
    return draft, ((OF_THREAD, f"the run stands in thread {row.thread_id!r}{others}, and stays there"),)
