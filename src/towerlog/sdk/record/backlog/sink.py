"""Where the events of a run (`BaseRun`) go: a recorder's backlog, or the outbox of a worker's lane."""

from __future__ import annotations

from typing import Any, Protocol

from towerlog.sdk.wire.address import Url


class Sink(Protocol):
    """Where a run's events go. Neither method blocks or raises, and any thread may call them."""

    @property
    def url(self) -> str:
        """The address of the server."""

    def put(self, event: dict[str, Any]) -> None:
        """Takes over `{"type", "data", "agent"?}` and adds event_id, client_seq and time to it."""

    def expect(self, run: Any, waiting: bool) -> None:
        """Whether a command of this run is waited for, so that it should come soon."""

    def access(self, run: Any) -> tuple[Url, str | None]:
        """The server and the key, for a request about a run which the server knows by then. May block.

        Raises ValueError where nothing can be sent.
        """
