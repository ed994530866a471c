"""Places for what is under way at a time: so many in all, and fewer of one organisation, so that others have some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Line:
    """The places of one organisation, and how many hold or want one."""

    def __init__(self, places: int) -> None:
        self.free = asyncio.Semaphore(places)
        self.users = 0


class OrgPlaces:
    """Places of one kind. They belong to the thread of an event loop."""

    def __init__(self, places: int, per_org: int) -> None:
        """`places` in all, `per_org` for each organisation."""
        self._free = asyncio.Semaphore(places)
        self._per_org = per_org
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def held(self, org_id: str) -> AsyncIterator[None]:
        """Waits for a place, and holds it."""
        await self.take(org_id)
        try:
            yield
        finally:
            self.give_back(org_id)

    async def take(self, org_id: str) -> None:
        """Waits for a place; who is cancelled meanwhile has none."""
        line = self._lines.get(org_id)
        if line is None:
            line = self._lines[org_id] = _Line(self._per_org)
        line.users += 1
        try:
            await line.free.acquire()
            try:
                await self._free.acquire()
            except BaseException:
                line.free.release()
                raise
        except BaseException:
            self._leave(org_id, line)
            raise

    def give_back(self, org_id: str) -> None:
        """Frees a place that was taken."""
        line = self._lines[org_id]
        self._free.release()
        line.free.release()
        self._leave(org_id, line)

    def _leave(self, org_id: str, line: _Line) -> None:
        line.users -= 1
        if not line.users:
            del self._lines[org_id]
