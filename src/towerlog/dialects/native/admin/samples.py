"""Examples of the endpoints of the audit, of members and of retention."""

from __future__ import annotations

from towerlog.dialects.base import Sample
from towerlog.dialects.native.admin.audit import AUDIT
from towerlog.dialects.native.admin.members import MEMBERS
from towerlog.dialects.native.admin.retention import RETENTION

ADMIN: dict[str, Sample] = {**AUDIT, **MEMBERS, **RETENTION}
"""Name of the endpoint → its example."""
