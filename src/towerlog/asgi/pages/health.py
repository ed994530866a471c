"""Is it alive, is it ready for work: the pages that a supervisor or a load balancer asks."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Reply, reply_json
from towerlog.errors import DiskFull, Overloaded, StorageFailed, StoreMoved

_NOT_READY_RETRY = (b"retry-after", b"1")


class Phase(enum.StrEnum):
    """Where the server is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "storage_failed"


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """One word, and one more where something is wrong that is not in the way of work."""

    status: Annotated[str, v.said("`ok` or `ready`; else what is in the way of work.", "ok")]
    warning: Annotated[
        str | msgspec.UnsetType,
        v.said(
            "`clock_off`: the clock was set, or the server was away; nothing is deleted for its age yet. If it is right"
            " now: `towerlog retention confirm-clock`.",
            "clock_off",
        ),
    ] = msgspec.UNSET


class HealthPages:
    """`/healthz` and `/readyz`."""

    def __init__(self) -> None:
        """Starting; until `attach` nobody can tell whether the store answers."""
        self.phase = Phase.STARTING
        self._ping: Callable[[], Awaitable[None]] | None = None
        self._obstacle: Callable[[], str | None] = lambda: None
        self._is_clock_off: Callable[[], bool] = lambda: False

    def attach(
        self, ping: Callable[[], Awaitable[None]], obstacle: Callable[[], str | None], is_clock_off: Callable[[], bool]
    ) -> None:
        """`ping` raises StorageFailed unless the store answers; `obstacle` names what is in the way of writes."""
        self._is_clock_off = is_clock_off
        self._ping = ping
        self._obstacle = obstacle

    def routes(self) -> tuple[PageRoute, ...]:
        """Routes of `/healthz` and `/readyz`."""
        return (
            PageRoute(
                "GET", "/healthz", "health", "Whether the process is alive", self.health, public=True, reply=Health
            ),
            PageRoute(
                "GET",
                "/readyz",
                "ready",
                "Whether the server is ready for work",
                self.ready,
                public=True,
                reply=Health,
                others={503: "It is not ready; `status` says why."},
            ),
        )

    async def health(self, visit: PageVisit) -> Reply:
        """The process answers; nothing more is said to strangers."""
        return reply_json(Health("ok"))

    async def ready(self, visit: PageVisit) -> Reply:
        """200 when there is nothing in the way of work, else 503 and the reason."""
        status = self.phase.value
        if self.phase is Phase.READY and self._ping is not None:
            try:
                await self._ping()
                status = self._obstacle() or status
            except DiskFull:
                status = "disk_full"
            except (StoreMoved, Overloaded):
                status = self._obstacle() or "writes_refused"
            except StorageFailed:
                status = "storage_failed"
        if status == Phase.READY.value:
            return reply_json(Health(status, "clock_off" if self._is_clock_off() else msgspec.UNSET))
        return reply_json(Health(status), 503, (_NOT_READY_RETRY,))
