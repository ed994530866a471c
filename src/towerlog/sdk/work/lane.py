"""One claimed run: renews the lease, sends events and receives commands until the run ends or the lease is lost.

It knows nothing of agents. Its owner puts events into the outbox and receives commands by a callback. `lost` is set
when the lease is lost; nothing is reported after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from towerlog.sdk.record.commands import MAX_PENDING, MAX_REMEMBERED, refusal_of, settlement_of, storage_of
from towerlog.sdk.wire.errors import ApiError, Unreachable
from towerlog.sdk.wire.event_batch import STRANGE_TRIES, UNKNOWN_BASE, is_stored, strange_status
from towerlog.sdk.wire.refusals import printable
from towerlog.sdk.wire.retries import Backoff
from towerlog.sdk.work.dead_letters import DeadLetters
from towerlog.sdk.work.lane_api import SLACK_S, Holder, LaneApi
from towerlog.sdk.work.lease import LeaseClock
from towerlog.sdk.work.outbox import Outbox, OutboxEvent

LINGER_S = 0.1
"""How long an event that is not urgent may wait to be sent together with others."""
MAX_BACKOFF_S = 2.0
REPEAT_PAUSE_S = 0.5
"""The pause after a reply that only repeats commands which were delivered before."""

_log = logging.getLogger("towerlog.worker")
Json = dict[str, Any]


class Lane:
    """A claimed run under its lease."""

    def __init__(self, api: LaneApi, holder: Holder, clock: LeaseClock, dead_letters: DeadLetters) -> None:
        """Belongs to the running event loop; the outbox may be fed from any thread."""
        self.holder = holder
        self.lost = asyncio.Event()
        self.doubted = False
        """Lost by the worker's own clock: nobody at the server has said so, and it may count the lease otherwise."""
        self.outbox = Outbox(self._wake)
        self.refused: set[str] = set()
        """Types of events that the server rejected."""
        self._api = api
        self._clock = clock
        self._dead_letters = dead_letters
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._progress = asyncio.Event()
        self._told: deque[int] = deque(maxlen=MAX_REMEMBERED)
        self._again: list[OutboxEvent] = []
        """Checkpoints to be sent again, for the server does not know what they go on from."""
        self._strange: list[tuple[OutboxEvent, str]] = []
        """Events of the last report whose results do not say what became of them, and what is wrong with each."""
        self._on_command: Callable[[Mapping[str, Any]], object] | None = None
        self._early: list[Json] = []
        """Commands that came before there was anybody to take them."""
        self._missed = False
        """The last report failed: what its reply would have carried is asked for without waiting."""

    def _wake(self) -> None:
        # The loop is closed only when the whole worker has ended and nothing reads the outbox any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)

    @contextlib.asynccontextmanager
    async def held(self, on_command: Callable[[Mapping[str, Any]], object]) -> AsyncIterator[None]:
        """Keeps the lease, sends events and receives commands inside the block; `on_command` gets each command as often
        as the server repeats it, those first that came with the claim."""
        self._on_command = on_command
        self._take(self._early)
        tasks = [asyncio.create_task(part()) for part in (self._send, self._listen, self._watch)]
        for task in tasks:
            task.add_done_callback(self._ended)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.close("not delivered")

    def _ended(self, task: asyncio.Task[None]) -> None:
        # If one task fails by an internal error, the others must not go on to renew the lease.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("run %s: internal error of the worker", self.holder.run_id, exc_info=error)
            self.lose("internal error of the worker")

    async def confirm(self) -> bool:
        """Asks the server whether the lease is held; it is trusted from the time of this request on."""
        pause = Backoff(MAX_BACKOFF_S)
        while not self.lost.is_set() and self._clock.left_s:
            try:
                await self._report([], 0)
            except Unreachable as error:
                await self._pause(pause.next_s(), error)
            except ApiError as error:
                await self._refused(error, pause)
            else:
                return True
        self.doubted = not self.lost.is_set()
        return False

    async def drained(self) -> bool:
        """Waits until all events in the outbox are delivered; False if the lease is lost before."""
        while len(self.outbox) and not self.lost.is_set():
            self._progress.clear()
            await self._progress.wait()
        return not self.lost.is_set()

    def lose(self, reason: str, words: str = "") -> None:
        """Gives the lease up as lost: undelivered events go to the dead letters. `words`: the reason for people."""
        if not self.lost.is_set():
            _log.warning("run %s: lease lost: %s", self.holder.run_id, words or reason)
            self.lost.set()
            self._progress.set()
            self.close(reason)

    def close(self, reason: str) -> None:
        """Closes the outbox; undelivered events go to the dead letters."""
        self._dead_letters.keep(self.holder.run_id, self.outbox.close(), reason)

    async def _watch(self) -> None:
        while not self.lost.is_set():
            # Each renewal moves the end; a process that was suspended may find it passed.
            await asyncio.sleep(self._clock.left_s)
            if not self._clock.left_s and not self.lost.is_set():
                self.doubted = True
                self.lose("the lease expired")

    async def _listen(self) -> None:
        """Keeps a report under way at all times, so that the lease is renewed and commands arrive at once."""
        pause = Backoff(MAX_BACKOFF_S)
        while not self.lost.is_set():
            sent_at = self._clock.now()
            try:
                news = await self._report([], 0 if self._missed else self._clock.wait_s)
            except Unreachable as error:
                await self._pause(pause.next_s(), error)
            except ApiError as error:
                await self._refused(error, pause)
            else:
                pause.reset()
                await self._rest(news, sent_at)

    async def _rest(self, news: bool, sent_at: float) -> None:
        """The pause between two reports: none if the server has waited, else as long as lease and cancels allow."""
        waited_s = self._clock.now() - sent_at
        if news or (self._clock.wait_s and waited_s >= min(1.0, self._clock.wait_s)):
            return
        await asyncio.sleep(min(self._clock.pause_s, REPEAT_PAUSE_S))

    async def _send(self) -> None:
        pause = Backoff(MAX_BACKOFF_S)
        while not self.lost.is_set():
            await self._news.wait()
            if not self.outbox.urgent:
                await asyncio.sleep(LINGER_S)
            self._news.clear()
            while (batch := self.outbox.batch()) and not self.lost.is_set():
                if await self._deliver(batch, pause):
                    self.outbox.settle(batch)
                    self._progress.set()

    async def _deliver(self, batch: list[OutboxEvent], pause: Backoff, tries: int = 1) -> bool:
        """Sends a batch, so often by now; False if it has to be sent again, after a pause that has passed."""
        try:
            await self._report(batch, 0)
        except Unreachable as error:
            await self._pause(pause.next_s(), error)
            return False
        except ApiError as error:
            if not error.blames_content:
                await self._refused(error, pause)
                return False
            await self._narrow(batch, error, pause)
            return True
        pause.reset()
        again, self._again = self._again, []
        for event in again:
            await self._deliver_alone(event, pause)
        strange, self._strange = self._strange, []
        for event, words in strange:
            if tries < STRANGE_TRIES:
                await self._pause(pause.next_s(), words)
                await self._deliver_alone(event, pause, tries + 1)
            else:
                self._refuse(event, "unknown status", words)
        return True

    async def _deliver_alone(self, event: OutboxEvent, pause: Backoff, tries: int = 1) -> None:
        while not self.lost.is_set() and not await self._deliver([event], pause, tries):
            pass

    async def _narrow(self, batch: list[OutboxEvent], error: ApiError, pause: Backoff) -> None:
        """Finds the rejected event of a batch by halves, and reports it as dropped."""
        if len(batch) == 1:
            self._refuse(batch[0], error.code, str(error))
            return
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            while not self.lost.is_set() and not await self._deliver(half, pause):
                pass

    async def _refused(self, error: ApiError, pause: Backoff) -> None:
        """Handles a refusal: the lease is lost, or there is a pause before the next try."""
        if error.status in (404, 409) and not error.is_temporary:
            self.lose(error.code, error.message)
        else:
            await self._pause(pause.next_s(error.retry_after), error)

    async def _pause(self, seconds: float, why: object) -> None:
        _log.info("run %s: %s; retrying in %.2f s", self.holder.run_id, why, seconds)
        await asyncio.sleep(min(seconds, self._clock.pause_s))

    async def _report(self, batch: list[OutboxEvent], wait_seconds: int) -> bool:
        """Sends one report and delivers new commands; whether there were any."""
        sent_at = self._clock.now()
        timeout_s = min(wait_seconds + SLACK_S, max(self._clock.left_s, 0.05))
        bodies = [event.line for event in batch]
        try:
            reply = await self._api.report(self.holder, bodies, wait_seconds, timeout_s)
        except (ApiError, Unreachable):
            self._missed = True
            raise
        self._missed = False
        self._clock.renewed(sent_at)
        results = reply.get("results", [])
        self._asked(batch, results)
        is_news = self._take(reply.get("commands", []))
        # After the commands: an answer among them was before the withdrawal that this reply confirms.
        self._look_at(batch, results)
        return is_news

    def _asked(self, batch: list[OutboxEvent], results: list[Json]) -> None:
        """Tells those who ask of the questions that the server has now."""
        for event, result in zip(batch, results, strict=False):
            stored = storage_of(event.line) if is_stored(result) else None
            if stored is not None and self._on_command is not None:
                self._on_command(stored)

    def _take(self, commands: Sequence[Json]) -> bool:
        """Hands on the commands of a reply, and keeps them while there is nobody to take them; whether any is new."""
        if self._on_command is None:
            known = {command["command_id"] for command in self._early}
            new = [command for command in commands if command["command_id"] not in known]
            self._early += new[: MAX_PENDING - len(self._early)]
            return False
        fresh = [command for command in commands if command["command_id"] not in self._told]
        self._told.extend(command["command_id"] for command in fresh)
        for command in commands:
            self._on_command(command)
        return bool(fresh)

    def _look_at(self, batch: list[OutboxEvent], results: list[Json]) -> None:
        """Looks for events that were rejected or not acknowledged, and for withdrawals that are stored."""
        missing: list[Json] = [{}] * (len(batch) - len(results))
        for event, result in zip(batch, [*results, *missing], strict=False):
            if (words := strange_status(result)) is not None:
                self._strange.append((event, words))
                continue
            if result.get("status") != "refused":
                if self._on_command is not None and (settled := settlement_of(event.line, result.get("seq"))):
                    self._on_command(settled)
                continue
            older = self.outbox.with_older_base(event) if result.get("code") == UNKNOWN_BASE else None
            if older is not None:
                self._again.append(older)
            else:
                self._refuse(event, str(result.get("code")), printable(str(result.get("message") or "refused")))

    def _refuse(self, event: OutboxEvent, code: str, words: str) -> None:
        self.refused.add(event.type)
        self._dead_letters.keep(self.holder.run_id, [event], words)
        self.outbox.drop(event, f"refused: {code}")
        if self._on_command is not None and (refused := refusal_of(event.line, words)) is not None:
            self._on_command(refused)
