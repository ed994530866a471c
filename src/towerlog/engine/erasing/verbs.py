"""The writing commands of retention."""

from __future__ import annotations

from towerlog.engine.commit.turn import Verb
from towerlog.engine.erasing import audited, marks
from towerlog.model import command as c
from towerlog.model import retention as r

RETENTION_VERBS: dict[type[c.Write], Verb] = {
    r.SetRetention: Verb(marks.needs_of_policies, marks.set_retention, audited.set_retention),
    r.ClearRetention: Verb(marks.needs_of_policies, marks.clear_retention, audited.clear_retention),
    r.MarkErased: Verb(marks.needs_of_erased, marks.mark_erased, audited.erase_run),
    r.MarkThreadErased: Verb(marks.needs_of_thread, marks.mark_thread, audited.erase_thread),
}
"""A part of `VERBS` in `verbs`."""
