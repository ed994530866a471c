"""Which run is whose child, as SQL with a `?` for each value: a parent is named by its run id, trace or foreign id."""

from __future__ import annotations

from typing import Any

from towerlog.model.run import PARENT_FOREIGN, PARENT_RUN, PARENT_TRACE, TERMINAL, RunRow, Status
from towerlog.store.lookup_keys import Family, Parent


def child_condition(run_id: str, parent: RunRow | Parent | None) -> tuple[str, list[Any]]:
    """A condition on `run` that holds for a parent's children, and its values.

    A trace names the run that it meant as the child began, else the first one that it has meant since: in the child's
    own thread, and only where there is none there, elsewhere.
    """
    if parent is None:
        return "parent_key = ?", [PARENT_RUN + run_id]
    there = "SELECT 1 FROM run AS other WHERE other.org = run.org AND other.trace_id = ? AND other.run <> run.run"
    nearer = "(other.run > ? AND other.run < run.run OR other.run < ? AND run.run < ?)"
    condition = (
        # The list of its names lets the database find them by index before it asks the rest.
        "run.run <> ? AND parent_key IN (?, ?, ?) AND (parent_key <> ? OR thread_id = ?"
        f" AND NOT EXISTS ({there} AND other.thread_id = run.thread_id AND {nearer})"
        f" OR NOT EXISTS ({there} AND other.thread_id = run.thread_id) AND NOT EXISTS ({there} AND {nearer}))"
    )
    by_trace = PARENT_TRACE + parent.trace_id
    names = [PARENT_RUN + parent.run_id, PARENT_FOREIGN + (parent.foreign_id or ""), by_trace, by_trace]
    of_trace = [parent.trace_id, parent.run, parent.run, parent.run]
    return condition, [parent.run, *names, parent.thread_id, *of_trace, parent.trace_id, *of_trace]


def _parent_is(kind: str, column: str) -> str:
    """Holds where `child` names a parent in its own thread in this way; by the index on the column."""
    return (
        "EXISTS (SELECT 1 FROM run AS parent WHERE parent.org = child.org"
        f" AND parent.{column} = substr(child.parent_key, {len(kind) + 1})"
        " AND parent.thread_id = child.thread_id AND parent.run <> child.run)"
        f" AND substr(child.parent_key, 1, {len(kind)}) = '{kind}'"
    )


IS_A_CHILD = " OR ".join(
    _parent_is(*one) for one in ((PARENT_TRACE, "trace_id"), (PARENT_RUN, "run_id"), (PARENT_FOREIGN, "foreign_id"))
)
"""Holds where the run `child` has a parent in the same thread: its state is not the thread's own."""


def passed_over(family: Family) -> frozenset[Status]:
    """Statuses of runs that are not meant by it."""
    if family.ended:
        return frozenset()
    return TERMINAL if family.cancelling else TERMINAL | {Status.CANCELLING}


def names_of(parent: RunRow | Parent) -> tuple[str, ...]:
    """What children may call it."""
    names = (PARENT_RUN + parent.run_id, PARENT_TRACE + parent.trace_id)
    return (*names, PARENT_FOREIGN + parent.foreign_id) if parent.foreign_id else names
