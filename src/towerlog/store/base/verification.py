"""What `verify` reads: everything of an organisation, damaged or not.

Law: a row that contradicts its own columns, or cannot be read, is reported in `Rows.faults` and never raises; the walk
of a damaged store goes on where any other reader gives up.
"""

from __future__ import annotations

from typing import Protocol

from towerlog.store.content import Content
from towerlog.store.values import Rows


class VerificationStore(Protocol):
    """Reads for `verify` and a rebuild."""

    async def structure_faults(self) -> list[str]:
        """What is wrong below the rows: files, indexes that disagree with their tables, what is there twice."""
        ...

    async def rows(self, org: int) -> Rows:
        """Every projection row, as of one moment."""
        ...

    async def content(self, org: int, kind: str, after: int, limit: int) -> list[tuple[int, Content]]:
        """All messages, nodes or metas (`kind`) of an organisation, with a rising number each."""
        ...
