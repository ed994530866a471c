"""`AsyncRetention`: the calls of `AsyncClient` about retention. `RetentionCalls` is generated from this module."""

from __future__ import annotations

from collections.abc import AsyncIterator

from towerlog.sdk.api.async_caller import AsyncCaller
from towerlog.sdk.api.retention import endpoints, shapes


class AsyncRetention(AsyncCaller):
    """A part of a client."""

    def list_retention(self) -> AsyncIterator[shapes.Retention]:
        """How long which content is kept; what is not there, for ever."""
        return self._all(endpoints.list_retention())

    async def get_retention(self, kind: str) -> shapes.Retention:
        """How long one kind is kept: deltas, checkpoints or events."""
        return await self._send(endpoints.get_retention(kind))

    async def set_retention(
        self, kind: str, *, max_age_seconds: int | None = None, max_bytes: int | None = None
    ) -> shapes.Retention:
        """Sets how long one kind is kept after a run's end, and how much of it."""
        return await self._send(endpoints.set_retention(kind, max_age_seconds, max_bytes))

    async def clear_retention(self, kind: str) -> shapes.Retention:
        """Keeps one kind for ever again."""
        return await self._send(endpoints.clear_retention(kind))

    async def run_retention(self, *, dry_run: bool = True) -> shapes.RetentionPass:
        """What the policies would erase now; without `dry_run` that begins at once."""
        return await self._send(endpoints.run_retention(dry_run))

    async def erase_run(self, run_id: str, *, children: bool = False) -> shapes.Erasure:
        """Erases the content of a run that has ended, or of all below it as well. It cannot be undone."""
        return await self._send(endpoints.erase_run(run_id, children))

    async def erase_thread(self, thread_id: str, *, children: bool = False) -> shapes.Erasure:
        """Erases the content of all runs of a thread. It cannot be undone."""
        return await self._send(endpoints.erase_thread(thread_id, children))
