"""Examples of the endpoints of the audit, of members, of sessions and of retention."""

from __future__ import annotations

from towerlog.dialects.base import Sample
from towerlog.dialects.native.admin.audit import AUDIT
from towerlog.dialects.native.admin.members import MEMBERS
from towerlog.dialects.native.admin.retention import RETENTION
from towerlog.dialects.native.admin.sessions import SESSIONS

ADMIN: dict[str, Sample] = {**AUDIT, **MEMBERS, **RETENTION, **SESSIONS}
"""Name of the endpoint → its example."""
