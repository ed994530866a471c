"""Every commit of the store, told to those who wait here: in the order of its positions, whichever node has made it.

Followers keep rings of what they are told, and go on from their newest frame. So what another node has committed must
be told before what was committed here after it, though news of it comes later. Each organisation has a line: the
position up to which its events were told here. A commit of this node that follows it is told at once, as with one
node; where there is a hole, the commit waits until what lies in the hole was read from the store, where it is already.
While nobody waits for anything here, nothing is read, and the line only moves on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog

from towerlog.engine.nodes.news import News, news_of, parts_of, without_told
from towerlog.engine.nodes.reading import LogReader
from towerlog.errors import Overloaded, StorageFailed
from towerlog.wake.base import Commit, Listener, Wake

MAX_HELD = 64
"""Commits of this node that wait for a hole before them; with more, what they have is read from the store as well."""
MAX_READING = 3
"""Organisations of which is read at a time."""
RETRY_S = 0.25

log = structlog.get_logger("towerlog.nodes")


class _Line:
    """Of one organisation."""

    __slots__ = ("heard", "held", "news", "task", "told")

    def __init__(self, told: int) -> None:
        self.told = told
        """All up to there was told, or nobody waited for it."""
        self.heard = told
        """The newest position that is known to be committed."""
        self.held: dict[int, Commit] = {}
        """Commits of this node by the position that they follow."""
        self.news: News | None = None
        """What is to be told beside events."""
        self.task: asyncio.Task[None] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether there is something to be told."""
        return self.told < self.heard or self.news is not None


class Lines:
    """A `Wake` of several nodes, around that of this process."""

    def __init__(self, wake: Wake, reader: LogReader, tell: Callable[[News, Commit], None]) -> None:
        """`wake` calls the listeners; `tell` tells other nodes of a commit of this one."""
        self._wake = wake
        self._reader = reader
        self._tell = tell
        self._lines: dict[int, _Line] = {}
        self._turns = asyncio.Semaphore(MAX_READING)
        self._is_stopped = False

    def subscribe(
        self, listener: Listener, audience: Collection[object] | None = None, *, of_messages: bool = False
    ) -> None:
        """Adds a listener, for good."""
        self._wake.subscribe(listener, audience, of_messages=of_messages)

    def is_heard(self) -> bool:
        """Whether any audience is there."""
        return self._wake.is_heard()

    async def stop(self) -> None:
        """Nothing more is read."""
        self._is_stopped = True
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What this node commits

    def committed(self, commit: Commit) -> None:
        """Tells it here and elsewhere. Never raises."""
        for org, part in parts_of(commit).items():
            self._tell(news_of(org, part), part)
            self.take(org, part)

    def take(self, org: int, part: Commit) -> None:
        """A whole commit of an organisation, of this node or another."""
        if part.events:
            self._follow(org, part)
        else:
            self._wake.committed(part)

    def _follow(self, org: int, part: Commit) -> None:
        first, last = part.events[0].position, part.events[-1].position
        line = self._lines.get(org)
        if line is None:
            line = self._lines[org] = _Line(first - 1)
        line.heard = max(line.heard, last)
        if not self._wake.is_heard():
            line.told = max(line.told, last)
            self._wake.committed(part)
        elif first - 1 <= line.told:
            # What is before `told` was read from the store, where it was before this was called.
            self._wake.committed(part if first - 1 == line.told else without_told(part, line.told))
            line.told = max(line.told, last)
        elif len(line.held) < MAX_HELD:
            line.held[first - 1] = part
        if line.is_behind:
            self._go_on(org, line)

    # What others commit

    def heard(self, news: News) -> None:
        """Another node has committed something."""
        line = self._lines.get(news.org)
        if line is None:
            line = self._lines[news.org] = _Line(news.after)
        line.heard = max(line.heard, news.until)
        if news.has_messages:
            self._wake.committed(Commit(messages_of=frozenset((news.org,))))
        if not self._wake.is_heard():
            line.told, line.held, line.news = line.heard, {}, None
        elif news.moved or news.names_rows():
            line.news = _joined(line.news, news)
        if line.is_behind:
            self._go_on(news.org, line)

    def begin(self, positions: Mapping[int, int]) -> None:
        """How far the log is when this node starts: nobody waits for what lies before."""
        self._lines = {org: _Line(position) for org, position in positions.items()}

    def reached(self, positions: Mapping[int, int], *, missed: bool) -> None:
        """How far the log is. `missed`: news may have been missed, of what has no position either."""
        for org, position in positions.items():
            line = self._lines.setdefault(org, _Line(0))
            if missed or position > line.heard:
                self.heard(News(org, line.heard, max(position, line.heard), is_short=missed))

    # What is told

    def _go_on(self, org: int, line: _Line) -> None:
        if line.task is None and not self._is_stopped:
            line.task = asyncio.create_task(self._read(org, line), name="towerlog-nodes")

    async def _read(self, org: int, line: _Line) -> None:
        """Tells all that is there, in order."""
        try:
            while line.is_behind and not self._is_stopped:
                held = line.held.pop(line.told, None)
                if held is not None:
                    line.told = held.events[-1].position
                    self._wake.committed(held)
                    continue
                try:
                    async with self._turns:
                        await self._page(org, line)
                except (StorageFailed, Overloaded) as error:
                    log.warning("reading_waits", error=error.message)
                    await asyncio.sleep(RETRY_S)
        except Exception:  # a defect must not end all that follows: what is there is read by whoever follows
            log.exception("reading_failed", org=org)
            line.told, line.held = line.heard, {}
            self._wake.committed(Commit(unknown=frozenset((org,))))
        finally:
            line.task = None
            if line.is_behind and not self._is_stopped:
                self._go_on(org, line)

    async def _page(self, org: int, line: _Line) -> None:
        """Tells a page of what lies before the next commit of this node, or is the newest."""
        for passed in [after for after in line.held if after < line.told]:
            del line.held[passed]
        news, line.news = line.news, None
        try:
            page = await self._reader.page(org, line.told, min(line.held, default=line.heard), news)
        except BaseException:
            line.news = _joined(news, line.news)
            raise
        if news is not None and page.reached < news.until:
            line.news = _joined(news, line.news)
        commit = without_told(page.commit, line.told)
        line.told = max(line.told, page.reached)
        self._wake.committed(commit)


def _joined(first: News | None, then: News | None) -> News | None:
    if first is None or then is None:
        return first or then
    first.add(then)
    return first
