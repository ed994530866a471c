"""The rows of one organisation that have changed: gathered, read back in rounds, encoded once for all who watch them.

A commit only notes what it has changed. A round reads those rows as they are by then, so that one which changes a
hundred times between two rounds is sent one time, in its last state. Rounds have rests between them, by the time that
they took: watching costs the event loop a bounded part of its time, whatever is committed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Protocol

import msgspec
import structlog

from towerlog.dialects.base import RowStyle
from towerlog.engine.follow.channel import MAX_CHUNK_BYTES
from towerlog.engine.live.rows import WATCHED, Key, LoadedRow, Traits, fits
from towerlog.engine.queries.context import QueryContext
from towerlog.model.principal import Principal
from towerlog.model.question import RowFilter, RowKind

SWEEP_MS = 250
"""Between two beginnings of looking at what has changed: a row is sent four times a second at most."""
ROUND_ROWS = 50
"""Rows that are read and encoded at a time."""
REST = 6
"""How many times as long as a round took there is none."""
RETRY_MS = 1000
"""How long after a round that failed the next begins."""
MAX_CHANGED = 20_000
"""Rows that have changed and were not sent. With more, all are forgotten, and readers have to read the lists anew."""
MAX_PASSED = 16
"""Traits that are remembered of a row that was not sent, the first ones: more than there are states."""
RING_BATCHES = 64
RING_BYTES = 1024 * 1024
"""A channel keeps so many batches and bytes for readers that are behind; others read the store."""
TOLD_AT_ONCE = 100
"""Readers that are told of a batch before the event loop may go on with something else."""

Changed = tuple[RowKind, Key]
Framed = tuple[Changed, bytes, Traits | None]
"""A row's frame, and its traits as they are now; None: it is there no more."""
log = structlog.get_logger("towerlog.live")


class ChangedRow(msgspec.Struct, frozen=True, gc=False):
    """A frame, and what filters ask of it."""

    kind: RowKind
    frame: bytes
    now: Traits | None
    """None: it is there no more."""
    was: tuple[Traits, ...]


class Batch:
    """Rows that are sent together, and up to where a reader has everything when it has them."""

    __slots__ = ("_chunks", "place", "reached", "rows", "size")

    def __init__(self, rows: list[ChangedRow], reached: int | None, place: bytes) -> None:
        """`reached` None: more rows of the same sweep follow."""
        self.rows = rows
        self.reached = reached
        self.place = place
        self.size = sum(len(row.frame) for row in rows)
        self._chunks: dict[RowFilter, bytes] = {}

    def chunk(self, wanted: RowFilter) -> bytes:
        """The frames of a filter, joined one time for all readers that have the same."""
        known = self._chunks.get(wanted)
        if known is None:
            frames = [row.frame for row in self.rows if fits(wanted, row.kind, row.now, row.was)]
            if frames:
                frames.insert(-1, self.place)
            known = self._chunks[wanted] = b"".join(frames)
        return known


class RowReader(Protocol):
    """Who watches, as the channel knows him."""

    def tell(self) -> None:
        """There is another batch."""
        ...

    def wake(self) -> None:
        """There is something to look at."""
        ...

    def stop(self) -> None:
        """Nothing more will come."""
        ...


class RowChannel:
    """One organisation's rows that have changed."""

    def __init__(self, source: QueryContext, principal: Principal, style: RowStyle, credits_per_dollar: int) -> None:
        """`principal`: any that may read; all of an organisation are shown the same."""
        self.readers: set[RowReader] = set()
        self.newest = 0
        """Position of the newest commit that it has heard of."""
        self.number = 0
        """Of the newest batch."""
        self.style = style
        self.source = source
        self.principal = principal
        self._credits = credits_per_dollar
        self._changed: dict[Changed, tuple[Traits, ...]] = {}
        """What is to be sent → its traits since it was sent last, as far as they can have been others."""
        self._batches: deque[Batch] = deque(maxlen=RING_BATCHES + 1)
        self._bytes = 0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes that it keeps."""
        return self._bytes

    # What a commit does

    def note(self, kind: RowKind, key: Key, change: Any) -> None:
        """A row has changed."""
        known = self._changed.get((kind, key))
        if known is not None:
            if change is not None and change.moves:
                passed = dict.fromkeys((*known, *WATCHED[kind].was(change)))
                self._changed[kind, key] = tuple(islice(passed, MAX_PASSED))
            return
        if len(self._changed) >= MAX_CHANGED:
            self.lose()
        self._changed[kind, key] = WATCHED[kind].was(change)
        self._news.set()

    def lose(self) -> None:
        """Forgets what is not sent: whoever watches finds that a batch is missing, and reads the store."""
        self._changed.clear()
        self.number += 1
        self.forget()
        for reader in self.readers:
            reader.wake()

    def forget(self) -> None:
        """Keeps no batch any more."""
        self._batches.clear()
        self._bytes = 0

    # What readers read

    async def begin(self) -> int:
        """The position of the newest commit; from here on it is told of every further one."""
        if self._task is None:
            stored = await self.source.store.counters(self.principal.org)
            self.newest = max(self.newest, stored.position)
        if self._task is None and self.readers:
            self._task = asyncio.create_task(self._run(), name="towerlog-live")
        return self.newest

    def end(self) -> None:
        """Nobody watches any more."""
        if self._task is not None:
            self._task.cancel()

    def after(self, number: int) -> list[Batch] | None:
        """The batches after one, at most a chunk of them; None where the next of them is kept no more."""
        first = self.number - len(self._batches) + 1
        if number + 1 < first:
            return None
        found: list[Batch] = []
        size = 0
        for batch in islice(self._batches, number + 1 - first, None):
            if found and size + batch.size > MAX_CHUNK_BYTES:
                break
            found.append(batch)
            size += batch.size
        return found

    async def load(self, keys: Sequence[Changed]) -> tuple[list[Framed], list[Changed]]:
        """The frames of some rows, as they are now; without traits those of rows that are there no more. And what is
        left to load, where they are large.

        One that cannot be shown is left out, and the operator told.
        """
        by_kind: dict[RowKind, list[Key]] = {}
        for kind, key in keys:
            by_kind.setdefault(kind, []).append(key)
        frames: list[Framed] = []
        left: list[Changed] = []
        for kind, wanted in by_kind.items():
            loaded = await WATCHED[kind].load(self.source, self.principal, wanted)
            left += ((kind, key) for key in loaded.left)
            frames += (framed for row in loaded.rows if (framed := self._framed(kind, row)) is not None)
        return frames, left

    def _framed(self, kind: RowKind, row: LoadedRow) -> Framed | None:
        if row.view is None:
            return (kind, row.key), self.style.removed(kind, row.name), None
        try:
            frame = self.style.row(kind, row.view, self._credits)
        except Exception:  # the others are to be shown all the same
            log.exception("row_failed", kind=kind.value, key=row.key)
            return None
        return (kind, row.key), frame, row.traits

    # Rounds

    async def _run(self) -> None:
        clock = self.source.clock
        while True:
            await self._news.wait()
            self._news.clear()
            began = clock.steady_ms()
            swept, self._changed = self._changed, {}
            reached = self.newest
            try:
                await self._sweep(swept, reached)
            except Exception:  # what was not sent is still to be sent, when the store answers again
                log.exception("round_failed", rows=len(swept))
                self._changed = {**self._changed, **swept}
                self._news.set()
                await asyncio.sleep(RETRY_MS / 1000)
            await asyncio.sleep(max(0, began + SWEEP_MS - clock.steady_ms()) / 1000)

    async def _sweep(self, swept: dict[Changed, tuple[Traits, ...]], reached: int) -> None:
        """Sends what has changed; takes out of `swept` what is sent."""
        clock = self.source.clock
        while swept:
            keys = list(islice(swept, ROUND_ROWS))
            found, left = await self.load(keys)
            began = clock.steady_ms()
            rows = [ChangedRow(kind, frame, now, swept.get((kind, key), ())) for (kind, key), frame, now in found]
            was = {key: swept.get(key, ()) for key in left}
            for done in (*keys, *(key for key, _, _ in found)):
                swept.pop(done, None)
            swept.update(was)
            self._publish(rows, None if swept else reached)
            await self._tell()
            await asyncio.sleep((clock.steady_ms() - began) * REST / 1000)

    def _publish(self, rows: list[ChangedRow], reached: int | None) -> None:
        """Makes batches of them, none of more than a chunk but for a row that is larger."""
        place = b"" if reached is None else self.style.place(self.cursor_of(reached))
        taken: list[ChangedRow] = []
        size = 0
        for row in rows:
            if taken and size + len(row.frame) > MAX_CHUNK_BYTES:
                self._put(Batch(taken, None, b""))
                taken, size = [], 0
            taken.append(row)
            size += len(row.frame)
        if taken or reached is not None:
            self._put(Batch(taken, reached, place))

    def _put(self, batch: Batch) -> None:
        self.number += 1
        self._batches.append(batch)
        self._bytes += batch.size
        while len(self._batches) > 1 and (len(self._batches) > RING_BATCHES or self._bytes > RING_BYTES):
            self._bytes -= self._batches.popleft().size

    async def _tell(self) -> None:
        for number, reader in enumerate(list(self.readers), 1):
            reader.tell()
            if not number % TOLD_AT_ONCE:
                await asyncio.sleep(0)

    def cursor_of(self, position: int) -> str:
        """What a reader names a place by."""
        return f"{self.source.store.epoch}-{position}"
