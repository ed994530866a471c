"""A thread's row follows the beginnings and ends of its runs."""

from __future__ import annotations

from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Event
from towerlog.model.run import RunRow
from towerlog.projections import threads as thread_fold


def follow_runs(plan: Plan, before: RunRow | None, after: RunRow, event: Event) -> None:
    """Folds the thread, which is made with its first run."""
    if before is not None and (before.is_terminal() or not after.is_terminal()):
        return  # neither a beginning nor an end
    thread = plan.thread_made(after.org, after.thread_id)
    changed = thread_fold.fold(thread, before, after, event)
    if changed is not thread:
        plan.put_thread(changed)
