"""The audit, as it is read. Entries are written by units, and with the identities that are written outside of any.

Laws:

* Entries of an organisation have dense numbers and one chain of hashes. The store gives both when it writes, since an
  operator's command may write beside the server; the organisation's own row keeps the last of them.
* An entry is never changed and never dropped. A rebuild, a backup and a restore keep all of them.
"""

from __future__ import annotations

from typing import Protocol

from towerlog.model.audit import AuditFilter, AuditRow
from towerlog.store.values import AuditHead, StoredEntry


class AuditStore(Protocol):
    """Reads of the audit."""

    async def audit(
        self, org: int, wanted: AuditFilter, limit: int, before: int | None
    ) -> tuple[list[AuditRow], int | None]:
        """Entries below a number, newest first; and the number below which it goes on, None at the end.

        A page may have fewer rows than `limit`, or none, and go on: it looks at `MAX_LOOKED_AT` entries at most.
        """
        ...

    async def audit_chain(self, org: int, after: int, limit: int) -> list[StoredEntry]:
        """Entries after a number as they are stored, in order, damaged or not."""
        ...

    async def audit_head(self, org: int) -> AuditHead:
        """The last number that was given out, and the hash that was stored with it."""
        ...
