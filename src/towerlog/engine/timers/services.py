"""What time brings about, as it runs: each timer with its services in their order, and the sender of messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from towerlog.ambient import ServingTime
from towerlog.engine.alerts.ways_out import WaysOut
from towerlog.engine.commit.writer import Writer
from towerlog.engine.control.unheard import Unheard
from towerlog.engine.erasure.age_clock import AgeClock
from towerlog.engine.erasure.content_size import HeldNow
from towerlog.engine.settings import EngineSettings
from towerlog.engine.timers.alerts import UnwatchedAlerts
from towerlog.engine.timers.approvals import ExpiredApprovals
from towerlog.engine.timers.budgets import ExpiredReservations, SteppingBudgets
from towerlog.engine.timers.cancels import OverdueCancels
from towerlog.engine.timers.forwarding.deliveries import Deliveries, Spans
from towerlog.engine.timers.forwarding.forwarder import Forwarder
from towerlog.engine.timers.leases import ExpiredLeases
from towerlog.engine.timers.loop import TimedService, Timer
from towerlog.engine.timers.messages.sender import Sender
from towerlog.engine.timers.old_rows import DROPS, OldRows
from towerlog.engine.timers.retention import retention_services
from towerlog.engine.timers.rules.watch import WatchedRules
from towerlog.engine.timers.rules.workers import Workers
from towerlog.engine.timers.silence import SilentRuns
from towerlog.engine.timers.spreads import SpreadingCancels
from towerlog.store.base import Store
from towerlog.wake.base import Wake


class Services:
    """All of one engine."""

    def __init__(
        self,
        store: Store,
        serving: ServingTime,
        writer: Writer,
        wake: Wake,
        settings: EngineSettings,
        *,
        ways_out: WaysOut | None,
        collector: Spans | None,
        forget: Callable[[int, int], None],
        leads: Callable[[], bool],
    ) -> None:
        """`ways_out`: how people are told of alerts; without, messages wait. `collector`: where ended runs go.
        `forget` is told organisation and run when something was erased of that run. `leads`: whether it is this node
        that looks."""
        self._store, self._serving, self._writer, self._settings = store, serving, writer, settings
        self.age = AgeClock(store, serving)
        self.workers = Workers(serving)
        self.before_sweep: Callable[[], None] = lambda: None
        """Called whenever the first timer begins to look."""
        self.deadlines = Timer(self._of_deadlines(), lambda: self.before_sweep(), leads)
        # Beside the other: however many rules there are, what they look at delays no lease and no cancel.
        self.rules = Timer(self._of_rules(), may_look=leads)
        self.held = HeldNow(store)
        self.erasures, kept = retention_services(store, serving, writer, forget, self.age, leads, self.held)
        self.retention = Timer(kept)
        self.sender = None if ways_out is None else self._sending(ways_out, wake, leads)
        self.forwarder = None
        if collector is not None:
            self.forwarder = Forwarder(store, Deliveries(collector, serving.clock, leads), leads)
        self._tasks: list[asyncio.Task[None]] = []

    def _of_deadlines(self) -> tuple[TimedService, ...]:
        """What is looked at again and again, in this order."""
        store, serving, upkeep, settings = self._store, self._serving, self._writer.upkeep, self._settings
        return (
            ExpiredLeases(upkeep),
            SpreadingCancels(upkeep),
            OverdueCancels(upkeep, settings.cancel_deadline_seconds * 1000),
            SilentRuns(serving, upkeep, settings.thresholds, hears_all=store.exclusive),
            SteppingBudgets(serving, upkeep),
            ExpiredReservations(upkeep),
            ExpiredApprovals(Unheard(serving), upkeep),
            *[OldRows(store, serving, self.age, drop) for drop in DROPS],
        )

    def _of_rules(self) -> tuple[TimedService, ...]:
        """Alerts by time, in this order."""
        store, serving, upkeep = self._store, self._serving, self._writer.upkeep
        has_links = self._settings.links is not None
        return (
            WatchedRules(store, serving, upkeep, self.workers, has_links=has_links),
            UnwatchedAlerts(store, upkeep),
        )

    def _sending(self, ways_out: WaysOut, wake: Wake, leads: Callable[[], bool]) -> Sender:
        clock, settings = self._serving.clock, self._settings
        pauses, links = settings.delivery_pauses, settings.links
        sender = Sender(self._store, self._writer.upkeep, clock, ways_out, pauses, links, leads)
        wake.subscribe(sender.hear, of_messages=True)
        return sender

    def figures(self) -> dict[str, int]:
        """What the sender and the forwarder have done since the start: name → figure."""
        given_up = 0 if self.sender is None else self.sender.given_up
        return {"deliveries_given_up": given_up} | ({} if self.forwarder is None else self.forwarder.figures())

    def start(self) -> None:
        """Begins to keep time, in tasks of its own."""
        runs = [("timer", self.deadlines.run), ("alerts", self.rules.run), ("retention", self.retention.run)]
        if self.sender is not None:
            runs.append(("sender", self.sender.run))
        if self.forwarder is not None:
            runs.append(("forwarder", self.forwarder.run))
        self._tasks += [asyncio.create_task(run(), name=f"towerlog-{name}") for name, run in runs]

    async def stop(self) -> None:
        """Ends all of them, and waits until they have ended."""
        for timer in (self.deadlines, self.rules, self.retention):
            timer.stop()
        if self.sender is not None:
            self.sender.stop()
        if self.forwarder is not None:
            self.forwarder.stop()
        for task in self._tasks:
            await task
