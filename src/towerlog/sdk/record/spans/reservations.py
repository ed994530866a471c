"""Money that is held for a run while it is spent: a block, and the one model call in it that settles what is held."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol

from towerlog.sdk.wire.address import Url
from towerlog.sdk.wire.reservations import reserved


class ReachesServer(Protocol):
    """What a reservation needs of where the events of its run go."""

    def access(self, run: Any) -> tuple[Url, str | None]:
        """The server and the key, once the server knows the run."""


class SpendingRun(Protocol):
    """What a reservation needs from its run."""

    run_id: str | None
    run_key: str | None
    agent: str | None

    @property
    def sink(self) -> ReachesServer:
        """Where its events go."""

    def tell(self, event_type: str, data: dict[str, Any]) -> None:
        """Reports an event of the run."""


_reservation: ContextVar[OpenReservation | None] = ContextVar("towerlog_reservation", default=None)


class OpenReservation:
    """Money that is held for a run, until one event has settled it."""

    def __init__(self, run: object, reservation_id: str) -> None:
        self.run = run
        self._ids = [reservation_id]

    def take(self) -> str | None:
        """Its id, once: also where several threads of a block ask."""
        try:
            return self._ids.pop()
        except IndexError:
            return None


@contextlib.contextmanager
def holding(held: OpenReservation) -> Iterator[None]:
    """Has the next model call inside a block settle what is held."""
    token = _reservation.set(held)
    try:
        yield
    finally:
        # A block may end in another context than it began in: then there is nothing to reset.
        with contextlib.suppress(ValueError):
            _reservation.reset(token)


def take_reservation(run: object) -> dict[str, str]:
    """The member by which a model call of this run settles what its block holds; none without any."""
    held = _reservation.get()
    reservation_id = held.take() if held is not None and held.run is run else None
    return {} if reservation_id is None else {"reservation_id": reservation_id}


class BudgetExceeded(Exception):
    """A budget has less left than was asked for; `budget_id` says which."""

    def __init__(self, usd: float, budget_id: str | None) -> None:
        super().__init__(f"a budget of the run has less than ${usd} left (budget {budget_id})")
        self.usd = usd
        self.budget_id = budget_id


class RunReservation:
    """A block in which money is held for a run. Can be entered once."""

    def __init__(self, run: SpendingRun, usd: float, ttl_seconds: int | None = None) -> None:
        """`ttl_seconds`: how long the server holds it if no event settles it; its default is a minute."""
        self._run = run
        self._usd = usd
        self._ttl_seconds = ttl_seconds
        self._block: contextlib.AbstractContextManager[None] | None = None
        self._held: OpenReservation | None = None
        self.reservation_id: str | None = None
        """To be named by an event that is told by other means than `model_call`."""

    def __enter__(self) -> RunReservation:
        self._ask()
        return self._begin()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(kind is not None)

    async def __aenter__(self) -> RunReservation:
        await asyncio.to_thread(self._ask)
        return self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._end(kind is not None)

    def _ask(self) -> None:
        """Raises BudgetExceeded, Unreachable, ApiError, ValueError."""
        url, api_key = self._run.sink.access(self._run)
        asked = {"run_id": self._run.run_id or self._run.run_key, "amount_usd": self._usd}
        more = {"ttl_seconds": self._ttl_seconds, "agent": self._run.agent}
        told = reserved(url, api_key, asked | {name: value for name, value in more.items() if value is not None})
        if told.get("granted") is not True:
            raise BudgetExceeded(self._usd, told.get("refused_by"))
        self.reservation_id = str(told.get("reservation_id"))

    def _begin(self) -> RunReservation:
        self._held = OpenReservation(self._run, self.reservation_id or "")
        self._block = holding(self._held)
        self._block.__enter__()
        return self

    def _end(self, failed: bool) -> None:
        """A call that failed has spent nothing that anybody knows of: it settles what was held for it."""
        if self._block is not None:
            self._block.__exit__(None, None, None)
        left = self._held.take() if failed and self._held is not None else None
        if left is not None:
            self._run.tell("model.call", {"status": "error", "reservation_id": left})
