"""The engine's timer: once a second each of its services looks at what time has brought about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import structlog

from towerlog.engine.load.misses import Unloaded
from towerlog.engine.load.rows import Needs, NeedsSteps
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.follow_ups import finish
from towerlog.engine.plan.plan import Plan
from towerlog.errors import Overloaded, StorageFailed
from towerlog.store.base import Unit

SWEEP_SECONDS = 1.0
Found = TypeVar("Found")
Row = TypeVar("Row")

log = structlog.get_logger("towerlog.upkeep")


class Upkeep(Protocol):
    """Commits something of the engine's own between two groups: `Writer.upkeep`."""

    async def __call__(
        self,
        find: Callable[[Unit, int], Awaitable[Found]],
        needs_of: Callable[[Needs, Found], NeedsSteps],
        place: Callable[[Plan, Found], Steps[None]],
        /,
    ) -> Found | None:
        """Gives what `find` found; None when nothing is written now.

        `find` is told the time in which the server could hear (`Reading.serving_ms`).
        """
        ...


class OfRun(Protocol):
    """A row of a run."""

    @property
    def org(self) -> int:
        """Its organisation."""
        ...

    @property
    def run(self) -> int:
        """The run's number."""
        ...


def needs_to_move(needs: Needs, found: Sequence[OfRun]) -> Steps[None]:
    """What a change of the status of each of these runs may touch."""
    for one in found:
        needs.counters(one.org)
        row = needs.run_by_number(one.run)
        if row is not None:
            needs.moves(row)
        yield


def one_by_one(plan: Plan, rows: Sequence[Row], act: Callable[[Plan, Row], Steps[None]]) -> Steps[int]:
    """Acts on each of these, with what follows from it, as far as one commit goes; on how many of them."""
    missing = Unloaded()
    done = 0
    for row in rows[: plan.known.reach]:
        if done and plan.is_full():
            break
        try:
            yield from act(plan, row)
            yield from finish(plan)
        except Exception as error:
            if not missing.pass_over(error):
                raise
            if missing.is_enough:
                plan.known.reach = done + 1
                break
        done += 1
        yield
    if missing:
        raise missing.as_one()
    return done


class Rounds:
    """The rounds of one sweep. What is done about rows takes them out of what is due, so none finds the same rows as
    the one before it; an index that is damaged may still lead to them, and the sweep would never end."""

    def __init__(self, sweep: str) -> None:
        """`sweep`: its name, for the log."""
        self._sweep = sweep
        self._last: object = None

    def advance(self, found: object) -> bool:
        """Whether these rows are other ones than the time before. Told to the operator where they are not."""
        if found and found == self._last:
            log.error("a sweep finds again what it has dealt with: its index is damaged", sweep=self._sweep)
            return False
        self._last = found
        return True


class TimedService(Protocol):
    """One thing that time brings about."""

    async def sweep(self) -> None:
        """Looks once at everything that is due."""
        ...


class Timer:
    """Runs its services one after the other."""

    def __init__(
        self,
        services: tuple[TimedService, ...],
        before_sweep: Callable[[], None] = lambda: None,
        may_look: Callable[[], bool] = lambda: True,
    ) -> None:
        """In this order. `before_sweep` is called before each round of them. `may_look`: whether it is this node that
        does it."""
        self._services = services
        self._before_sweep = before_sweep
        self._may_look = may_look
        self._stopping = asyncio.Event()
        self._failing: dict[TimedService, str] = {}
        """What the last sweep of a service has failed with, of those that have."""

    async def run(self) -> None:
        """Sweeps until stopped. A failing store is the writer's to report; the sweeps go on."""
        while not self._stopping.is_set():
            self._before_sweep()
            for service in self._services:
                if self._may_look():
                    await self._look(service)
            try:
                await asyncio.wait_for(self._stopping.wait(), SWEEP_SECONDS)
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    async def sweep(self) -> None:
        """One sweep of each."""
        for service in self._services:
            await service.sweep()

    async def _look(self, service: TimedService) -> None:
        """One sweep. What fails in one service keeps no other from its work; what lasts is logged when it begins and
        when it is over."""
        name = type(service).__name__
        try:
            await service.sweep()
        except (StorageFailed, Overloaded) as error:
            # What is final was told, and nothing comes between that and the end of the process.
            if not (isinstance(error, StorageFailed) and error.fatal) and self._is_new(service, error.message):
                log.warning("sweep_failed", service=name, error=error.message)
        except Exception as error:  # a defect in one sweep must not end all later ones
            if self._is_new(service, repr(error)):
                log.exception("sweep_failed", service=name)
        else:
            if self._failing.pop(service, None) is not None:
                log.info("sweep_works_again", service=name)

    def _is_new(self, service: TimedService, error: str) -> bool:
        before, self._failing[service] = self._failing.get(service), error
        return before != error
