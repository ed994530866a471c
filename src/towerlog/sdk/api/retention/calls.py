# Generated from async_calls.py by tools/blocking_from_async.py: change the source, then run `make blocking`.
"""`AsyncRetention`: the calls of `AsyncClient` about retention. `RetentionCalls` is generated from this module."""

from __future__ import annotations

from collections.abc import Iterator

from towerlog.sdk.api.caller import Caller
from towerlog.sdk.api.retention import endpoints, shapes


class RetentionCalls(Caller):
    """A part of a client."""

    def list_retention(self) -> Iterator[shapes.Retention]:
        """How long which content is kept; what is not there, for ever."""
        return self._all(endpoints.list_retention())

    def get_retention(self, kind: str) -> shapes.Retention:
        """How long one kind is kept: deltas, checkpoints or events."""
        return self._send(endpoints.get_retention(kind))

    def set_retention(
        self, kind: str, *, max_age_seconds: int | None = None, max_bytes: int | None = None
    ) -> shapes.Retention:
        """Sets how long one kind is kept after a run's end, and how much of it."""
        return self._send(endpoints.set_retention(kind, max_age_seconds, max_bytes))

    def clear_retention(self, kind: str) -> shapes.Retention:
        """Keeps one kind for ever again."""
        return self._send(endpoints.clear_retention(kind))

    def run_retention(self, *, dry_run: bool = True) -> shapes.RetentionPass:
        """What the policies would erase now; without `dry_run` that begins at once."""
        return self._send(endpoints.run_retention(dry_run))

    def erase_run(self, run_id: str, *, children: bool = False) -> shapes.Erasure:
        """Erases the content of a run that has ended, or of all below it as well. It cannot be undone."""
        return self._send(endpoints.erase_run(run_id, children))

    def erase_thread(self, thread_id: str, *, children: bool = False) -> shapes.Erasure:
        """Erases the content of all runs of a thread. It cannot be undone."""
        return self._send(endpoints.erase_thread(thread_id, children))
