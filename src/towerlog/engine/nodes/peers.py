"""The nodes of one store: this one says that it is there, hears the others, and may lead.

One of them leads: it alone does what time brings about, and sends what waits in the outbox. The lead is for a few
seconds and is renewed all the time, so that it passes on when a node is lost or stands still; and a node that stood
still knows that it may have lost the lead before it does anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from towerlog.ambient import Clock
from towerlog.engine.nodes.lines import Lines
from towerlog.engine.nodes.messages import Asked, Counted, Granted, NodeMessage, decoded
from towerlog.engine.nodes.news import News
from towerlog.engine.nodes.outgoing import Outgoing
from towerlog.engine.nodes.reading import LogReader
from towerlog.errors import Overloaded, StorageFailed
from towerlog.store.base import NodeStore, Store
from towerlog.wake.base import Bus, Commit, NotSent, Wake

PULSE_S = 1.0
"""Between two signs of life."""
LOST_PULSE_S = 0.2
"""The same while others cannot be heard: then the log tells what they have committed."""
LIFE_MS = 4000
"""How long a node counts as there after its last sign of life."""
LEAD_MS = 3000
"""How long the lead is held after it was renewed."""
MARGIN_MS = 500
"""So much earlier a node takes its lead for over."""
HELLO_S = 5.0
"""How long it may take until a node hears its own first message."""
TOLD_MS = 5000
"""For so long it is known of whose commits others were told: they may not have heard it when the bus is lost."""
MAX_NUMBERED = 256
"""Nodes of which it is known how many messages they have sent; of more, of those that were heard last."""

log = structlog.get_logger("towerlog.nodes")


class CannotJoin(Exception):
    """This node and the others would not hear each other; the words are for the operator."""


class Peers:
    """Of one engine, whose wake is `wake`."""

    def __init__(
        self, store: Store, nodes: NodeStore, bus: Bus | None, wake: Wake, clock: Clock, node: str, way: str
    ) -> None:
        """`bus` None: this node is to be alone. `way`: how nodes hear each other, in a word. `node` names this one."""
        self.node = node
        self.way = way
        self._nodes = nodes
        self._bus = bus
        self._clock = clock
        self._outgoing = Outgoing(bus, node) if bus is not None else None
        self.wake = Lines(wake, LogReader(store, nodes), self._tell)
        self.others: dict[str, str] = {}
        """Those that are there beside this one."""
        self.asked: Callable[[Asked], None] = _nobody
        self.counted: Callable[[Counted], None] = _nobody
        self.granted: Callable[[Granted], None] = _nobody
        """Called with what others say."""
        self.erased: Callable[[int, int], None] = _nothing
        """(organisation, run) of which something was erased elsewhere."""
        self.missed: Callable[[], None] = _nothing_at_all
        """Something may have been missed of what others say: of any organisation, and it is not known what."""
        self._numbers: dict[str, int] = {}
        """Of the last message of each other node; the one that was heard last stands last."""
        self._leads_until = 0
        self._told: dict[int, int] = {}
        """Organisation → when others were told of it last."""
        self._missed = False
        self._hello = asyncio.Event()
        self._stirred = asyncio.Event()
        self._is_stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    # Its life

    async def start(self) -> None:
        """Meets the others. Raises CannotJoin, StorageFailed, Overloaded."""
        await self._meet()
        if self._bus is not None and self._outgoing is not None:
            try:
                await self._bus.open(self._heard, self._healed)
            except NotSent as error:
                raise CannotJoin(f"nodes cannot hear each other by {self.way}: {error}") from error
            await self._greet(self._bus)
            self._tasks.append(asyncio.create_task(self._outgoing.run(), name="towerlog-outgoing"))
        self.wake.begin(await self._nodes.positions())
        await self._look()
        self._tasks.append(asyncio.create_task(self._live(), name="towerlog-pulse"))

    async def _meet(self) -> None:
        """Waits until nobody is there with whom this node cannot be: one that was killed counts for a while."""
        deadline = self._now() + LIFE_MS + 1000
        while True:
            self.others = await self._nodes.meet(self.node, self.way, LIFE_MS)
            wrong = self._wrong()
            if wrong is None:
                return
            if self._now() > deadline:
                await self._nodes.leave(self.node)
                raise CannotJoin(wrong)
            await self._nodes.leave(self.node)
            await asyncio.sleep(PULSE_S / 2)

    def _wrong(self) -> str | None:
        """Why this node cannot be beside those that are there."""
        if self.others and self._bus is None:
            return f"another node serves this database; with --wake {self.way} this one would not hear of its commits"
        others = sorted({way for way in self.others.values() if way != self.way})
        if others:
            return f"other nodes of this database have --wake {others[0]}, this one {self.way}: they must be the same"
        return None

    async def _greet(self, bus: Bus) -> None:
        """Says something, and waits until it is heard here: then others hear this node as well."""
        try:
            await bus.send(b'["%s"]' % self.node.encode())
            async with asyncio.timeout(HELLO_S):
                await self._hello.wait()
        except (NotSent, TimeoutError) as error:
            await bus.close()
            await self._nodes.leave(self.node)
            words = str(error) or "what is sent is not heard; through a pooler of transactions LISTEN does not work"
            raise CannotJoin(f"nodes cannot hear each other by {self.way}: {words}") from error

    async def stop(self) -> None:
        """Says the last, and leaves."""
        self._is_stopped = True
        self._leads_until = 0
        self._stirred.set()
        if self._outgoing is not None:
            self._outgoing.stop()
        await asyncio.gather(*self._tasks)
        await self.wake.stop()
        if self._outgoing is not None and self._bus is not None:
            await self._outgoing.flush()
            await self._bus.close()
        try:
            await self._nodes.leave(self.node)
        except (StorageFailed, Overloaded) as error:
            log.warning("leaving_failed", error=error.message)

    async def _live(self) -> None:
        is_lost = False
        while not self._is_stopped:
            self._stirred.clear()
            try:
                await self._look()
                is_lost = False
            except (StorageFailed, Overloaded) as error:
                if not is_lost:
                    log.warning("no_sign_of_life", error=error.message)
                is_lost = True
            except Exception:  # a defect in one look must not end all later ones
                log.exception("pulse_failed")
            cannot_hear = is_lost or (self._outgoing is not None and self._outgoing.is_lost)
            try:
                async with asyncio.timeout(LOST_PULSE_S if cannot_hear else PULSE_S):
                    await self._stirred.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """A sign of life; whether it leads; how far the log is."""
        before, self.others = self.others, await self._nodes.meet(self.node, self.way, LIFE_MS)
        # Of one that was killed the last word may not have been said.
        self._missed = self._missed or not before.keys() <= self.others.keys()
        began = self._now()
        leads = not self._is_stopped and await self._nodes.lead(self.node, LEAD_MS)
        self._leads_until = began + LEAD_MS - MARGIN_MS if leads and not self._is_stopped else 0
        missed, self._missed = self._missed, False
        if missed:
            self.missed()
        try:
            self.wake.reached(await self._nodes.positions(), missed=missed)
        except BaseException:
            self._missed = self._missed or missed
            raise

    def leads(self) -> bool:
        """Whether this node does what one alone is to do."""
        return self._now() < self._leads_until

    def _now(self) -> int:
        """Steady ms in which standstills count: others went on meanwhile."""
        steady_ms = self._clock.steady_ms()
        return steady_ms + self._clock.stood_still_ms()

    # What is said

    def _tell(self, news: News, part: Commit) -> None:
        if self._outgoing is not None:
            self._told.pop(news.org, None)
            self._told[news.org] = self._now()
            self._outgoing.tell(news, part)

    def tell_asked(self, asked: Asked) -> None:
        """A worker has asked this node for work."""
        if self._outgoing is not None:
            self._outgoing.ask(asked)

    def tell_counted(self, limit: str, who: str) -> None:
        """A request was let through here."""
        if self._outgoing is not None:
            self._outgoing.count(limit, who)

    def tell_granted(self, granted: Granted) -> None:
        """A socket, of whichever node, may subscribe."""
        if self._outgoing is not None:
            self._outgoing.grant(granted)

    def tell_erased(self, org: int, run: int) -> None:
        """Something was erased of a run by this node."""
        if self._outgoing is not None:
            self._outgoing.tell(News(org, 0, 0, erased={run}))

    def tell_unknown(self) -> None:
        """Something has changed by this node that others may hold figures of."""
        if self._outgoing is not None:
            self._outgoing.tell_unknown()

    # What is heard

    def _heard(self, text: bytes) -> None:
        message = decoded(text)
        if message is None:
            return
        if message.node == self.node:
            self._hello.set()
            return
        self._count(message)
        for whole in message.wholes:
            self.wake.take(whole.news.org, whole.commit())
        for news in message.news:
            for run in news.erased:
                self.erased(news.org, run)
            self.wake.heard(news)
        for counted in message.counted:
            self.counted(counted)
        for asked in message.asked:
            self.asked(asked)
        for granted in message.granted:
            self.granted(granted)

    def _count(self, message: NodeMessage) -> None:
        """Whether one before it was lost is looked after by the next look, within PULSE_S."""
        if message.number:
            expected = self._numbers.pop(message.node, 0) + (not message.is_empty())
            self._numbers[message.node] = message.number
            self._missed = self._missed or message.number != expected
            while len(self._numbers) > MAX_NUMBERED:
                del self._numbers[next(iter(self._numbers))]

    def _healed(self) -> None:
        """Messages may have been missed here, and what was said last may not have been heard."""
        self._missed = True
        self._stirred.set()
        since = self._now() - TOLD_MS
        self._told = {org: at for org, at in self._told.items() if at >= since}
        if self._outgoing is not None:
            for org in self._told:
                self._outgoing.tell(News(org, 0, 0, is_short=True))


def _nobody(_told: object) -> None:
    """Nobody wants to know."""


def _nothing_at_all() -> None:
    """Nobody holds any figures."""


def _nothing(_org: int, _run: int) -> None:
    """The same."""
