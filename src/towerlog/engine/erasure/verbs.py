"""The writing commands of retention."""

from __future__ import annotations

from towerlog.engine.commit.turn import Verb
from towerlog.engine.erasure import audit, policies
from towerlog.model import command as c
from towerlog.model import retention as r

RETENTION_VERBS: dict[type[c.Write], Verb] = {
    r.SetRetention: Verb(policies.needs_of_policies, policies.set_retention, audit.set_retention),
    r.ClearRetention: Verb(policies.needs_of_policies, policies.clear_retention, audit.clear_retention),
    r.MarkErased: Verb(policies.needs_of_erased, policies.mark_erased, audit.erase_run),
    r.MarkThreadErased: Verb(policies.needs_of_thread, policies.mark_thread, audit.erase_thread),
}
"""A part of `VERBS` in `verbs`."""
