"""Where answers come from: the store's readers, the clock, and how long a run may be silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from towerlog.ambient import Clock, ServingTime
from towerlog.engine.alerts.conditions import Serves
from towerlog.engine.alerts.ways_out import WaysOut
from towerlog.engine.control.standstills import Standstills
from towerlog.engine.pricing.book import NoPrices, PriceList
from towerlog.engine.queries import views
from towerlog.engine.queries.alerts.trials import Trials
from towerlog.engine.queries.figures import KeptFigures
from towerlog.engine.queries.screens.kept_outlines import KeptOutlines
from towerlog.errors import NotFound
from towerlog.model.lane import Lane
from towerlog.model.liveness import DEFAULT_THRESHOLDS, Thresholds
from towerlog.model.outcome import RunView
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow
from towerlog.store.base import Store
from towerlog.store.values import Found

T = TypeVar("T")


def page_of(found: Found[T], limit: int) -> tuple[list[T], bool]:
    """The rows of a page, of which one more than `limit` was asked for, and whether more follow."""
    return found[:limit], found.cut or len(found) > limit


class Asking(Serves, Protocol):
    """Which workers ask for work: `timers.rules.workers.Workers`."""

    def lately(self, org: int, serving_ms: int) -> Sequence[tuple[str, str, int]]:
        """Those of an organisation, as of a moment: who, under which key, and when."""
        ...


class NobodyAsks:
    """Knows of no worker what it asks for, and so calls nothing unserved."""

    def lately(self, org: int, serving_ms: int) -> Sequence[tuple[str, str, int]]:
        """No worker has asked: always empty."""
        return ()

    def serves(self, lane: Lane, serving_ms: int) -> bool:
        """Always True, so that no run counts as unserved."""
        return True


class QueryContext:
    """What every question is answered from. Every look-up is by organisation."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        serving: ServingTime,
        thresholds: Thresholds = DEFAULT_THRESHOLDS,
        ways_out: WaysOut | None = None,
    ) -> None:
        """`serving` tells how long things have waited; `thresholds`, how long runs may be silent; `ways_out`, by which
        ways people are told of alerts."""
        self.ways_out = ways_out
        self.trials = Trials()
        self.store = store
        self.clock = clock
        self.serving = serving
        self.standstills = Standstills(serving)
        self.outlines = KeptOutlines()
        self.figures = KeptFigures()
        self._thresholds = thresholds
        self.workers: Asking = NobodyAsks()
        self.price_list: PriceList = NoPrices()
        """What knows the prices of models that are no organisation's own."""

    async def run_of(self, principal: Principal, run_id: str) -> RunRow:
        """A run of the caller's organisation. Raises NotFound."""
        row = await self.store.run(principal.org, run_id)
        if row is None:
            raise NotFound("run")
        return row

    async def view_of(self, principal: Principal, row: RunRow, tree: bool = False) -> RunView:
        """All that is known of a run; `tree`: with its descendants."""
        return await views.run_detail(self.store, principal, row, tree, self.now())

    def now(self) -> views.Now:
        """When something is looked at."""
        return views.Now(self.serving, self._thresholds, self.standstills.lasted())
