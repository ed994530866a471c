"""What this node has to say to the others: gathered, sent some times a second, so that many commits are one message.

What cannot be sent is kept and added to, as short as it can be said, until it can.
"""

from __future__ import annotations

import asyncio

import structlog

from towerlog.engine.nodes.messages import (
    NUMBER_BYTES,
    Asked,
    Counted,
    Granted,
    NodeMessage,
    Whole,
    encoded,
    numbered,
    whole_of,
)
from towerlog.engine.nodes.news import News, copied, positions_of
from towerlog.wake.base import Bus, Commit, NotSent

PAUSE_S = 0.02
"""Between two messages."""
RETRY_S = 0.25
BEAT_S = 1.0
"""After so long without a message others are told how many there were, so that they notice that one was lost."""
MAX_ATTACHED_BYTES = 256 * 1024
ROW_BYTES = 2048
"""Of commits that are sent themselves with one message, and what the rows of a run take of it, about."""
MAX_WAITING = 2000
"""Of each kind, while nothing can be sent; of more, the oldest are not told. Of an organisation there is one piece."""

log = structlog.get_logger("towerlog.nodes")


class Outgoing:
    """Of one node."""

    def __init__(self, bus: Bus, node: str) -> None:
        """Nothing is to be said."""
        self._bus = bus
        self._node = node
        self._news: dict[int, News] = {}
        self._wholes: dict[int, list[Whole]] = {}
        """Of organisations of which all that the news tell is at hand."""
        self._attached_bytes = 0
        self._counted: dict[tuple[str, str], int] = {}
        self._asked: dict[Asked, None] = {}
        self._granted: list[Granted] = []
        self._is_there = asyncio.Event()
        self._is_stopped = False
        self._said = 0
        """Messages so far, those that could not be sent among them."""
        self.is_lost = False
        """The last message could not be sent."""

    def tell(self, news: News, part: Commit | None = None) -> None:
        """What was committed; `part`: the commit itself, which is sent with it where the bus has room."""
        known = self._news.get(news.org)
        if known is None:
            self._news[news.org] = copied(news)
        else:
            known.add(news)
        if self._bus.attaches:
            self._attach(news, part, is_first=known is None)
        self._is_there.set()

    def _attach(self, news: News, part: Commit | None, *, is_first: bool) -> None:
        """Keeps the commits of an organisation, unless one of them is not at hand or they are long."""
        wholes = self._wholes.get(news.org)
        if wholes is None and not is_first:
            return  # of some before it there is no more than the news
        size = 0 if part is None else sum(len(event.data) for event in part.events) + ROW_BYTES * len(part.runs)
        if part is None or news.is_short or self._attached_bytes + size > MAX_ATTACHED_BYTES:
            self._wholes.pop(news.org, None)
            return
        self._attached_bytes += size
        self._wholes.setdefault(news.org, []).append(whole_of(news, part))

    def count(self, limit: str, who: str) -> None:
        """A request that was let through."""
        key = limit, who
        self._counted[key] = self._counted.get(key, 0) + 1
        self._is_there.set()

    def ask(self, asked: Asked) -> None:
        """A worker that has asked for work."""
        self._asked[asked] = None
        self._is_there.set()

    def grant(self, granted: Granted) -> None:
        """A socket that may subscribe."""
        self._granted.append(granted)
        self._is_there.set()

    def tell_unknown(self) -> None:
        """Others have to take it that they have missed something: what that is has no words here."""
        self._said += 1

    async def run(self) -> None:
        """Sends until it is stopped."""
        while not self._is_stopped:
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._is_there.wait()
            except TimeoutError:
                await self._send(NodeMessage(self._node))
                continue
            self._is_there.clear()
            await self.flush()
            await asyncio.sleep(RETRY_S if self.is_lost else PAUSE_S)

    def stop(self) -> None:
        """Ends `run`."""
        self._is_stopped = True
        self._is_there.set()

    async def flush(self) -> None:
        """Sends what there is. What fails is kept."""
        counted = [Counted(limit, who, count) for (limit, who), count in self._counted.items()]
        told = [positions_of(news) if news.org in self._wholes else news for news in self._news.values()]
        wholes = [one for some in self._wholes.values() for one in some]
        message = NodeMessage(self._node, told, counted, list(self._asked), self._granted, wholes)
        self._news, self._counted, self._asked, self._granted = {}, {}, {}, []
        self._wholes, self._attached_bytes = {}, 0
        if not message.is_empty() and not await self._send(message):
            self._keep(message)

    async def _send(self, message: NodeMessage) -> bool:
        """Whether it could be sent."""
        try:
            for piece in encoded(message, self._bus.max_bytes - NUMBER_BYTES):
                # Also where it fails: it may have been heard all the same.
                self._said += not message.is_empty()
                await self._bus.send(numbered(piece, self._said))
            self.is_lost = False
        except NotSent as error:
            if not self.is_lost:
                log.warning("others_cannot_be_told", error=str(error))
            self.is_lost = True
        return not self.is_lost

    def _keep(self, message: NodeMessage) -> None:
        """Puts back what others have not been told; some of it they may have been."""
        for news in (*message.news, *(one.news for one in message.wholes)):
            later = self._news.pop(news.org, None)
            if later is not None:
                news.add(later)
            self._news[news.org] = news
        for one in message.counted[:MAX_WAITING]:
            key = one.limit, one.who
            self._counted[key] = self._counted.get(key, 0) + one.count
        self._asked = dict.fromkeys([*message.asked, *self._asked][-MAX_WAITING:])
        self._granted = [*message.granted, *self._granted][-MAX_WAITING:]
        self._is_there.set()
