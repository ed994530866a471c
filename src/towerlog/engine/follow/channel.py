"""One subject in one style: a ring of its newest frames, encoded once for all who follow it, and who waits for more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from towerlog.dialects.base import FrameStyle
from towerlog.engine.follow.subjects import CURSORS, DENSE, Subject
from towerlog.model.agent import AgentRow
from towerlog.model.event import Event
from towerlog.model.run import RunRow
from towerlog.wake.base import Change

log = structlog.get_logger("towerlog.follow")


RING_FRAMES = 1000


RING_BYTES = 4 * 1024 * 1024
"""A ring holds at most so many frames and so many bytes; a follower further behind reads the store."""


LIVE_RING_FRAMES, LIVE_RING_BYTES = 10_000, 8 * 1024 * 1024
"""The same of a style that is never read back: who is further behind has lost what lies between, and is told so."""


MAX_CHUNK_BYTES = 256 * 1024
"""A follower takes at most this much at a time, or one frame that is larger."""


MAX_SHARED_CHUNKS = 32
NO_AGENTS: Mapping[int, AgentRow] = {}


TOLD_AT_ONCE = 250
"""Followers that are told of a commit before the event loop may go on with something else."""


class Reader(Protocol):
    """Who reads a channel, as the channel and the hub know him."""

    def tell(self) -> None:
        """Something was committed."""
        ...

    def stop(self) -> None:
        """Nothing more will come."""
        ...


class Channel:
    """One subject's newest frames in one style, and who waits for more."""

    __slots__ = (
        "_bytes",
        "_chunks",
        "_covered",
        "_epoch",
        "_framing",
        "_is_stale",
        "_max_bytes",
        "_untold",
        "cursor_of",
        "ended",
        "followers",
        "frames",
        "key",
        "newest",
        "reading",
        "style",
    )

    def __init__(self, subject: Subject, style: FrameStyle, epoch: str) -> None:
        """Empty: what came before its first follower is in the store."""
        self.key = (subject, style.name)
        self.style = style
        self.cursor_of = CURSORS[subject[0]]
        is_live = style.live is not None
        self._max_bytes = LIVE_RING_BYTES if is_live else RING_BYTES
        self.frames: deque[tuple[int, bytes]] = deque(maxlen=LIVE_RING_FRAMES if is_live else RING_FRAMES)
        self.followers: set[Reader] = set()
        self.ended: RunRow | None = None
        """The run's row as of its newest event, once its end was published."""
        self._epoch = epoch
        self._framing = None if style.framing is None else style.framing()
        self._bytes = 0
        self._covered: int | None = 0 if is_live else None
        """The ring holds everything after this cursor; None while it holds nothing. Of a live style, all that comes: it
        is asked only for what came after its reader."""
        self._chunks: dict[int, tuple[int, bytes]] = {}
        self._untold: list[Reader] = []
        """Who is still to be told, while a round goes on."""
        self._is_stale = False
        """There was another commit during the round, so that another has to follow."""
        self.newest = 0
        """Cursor of the newest event that was published."""
        self.reading = asyncio.Lock()
        """Held by whoever reads a page of the store for it."""

    @property
    def is_dense(self) -> bool:
        """Whether a missing cursor is a gap."""
        return self.key[0][0] in DENSE

    @property
    def size(self) -> int:
        """Bytes that the ring holds."""
        return self._bytes

    def forget(self) -> None:
        """Empties the ring; its followers read the store instead."""
        if self.frames:
            self._covered = self.frames[-1][0]
        self.frames.clear()
        self._chunks.clear()
        self._bytes = 0

    def lose(self) -> None:
        """Holds nothing any more: what comes next begins anew."""
        self.forget()
        self._covered = None

    def _leave_out(self, cursor: int) -> None:
        """Holds what comes after this cursor."""
        self.forget()
        self._covered = cursor

    def publish(self, event: Event, runs: Mapping[int, Change], agents: Mapping[int, AgentRow] = NO_AGENTS) -> int:
        """Adds a committed event; one without a frame still moves the cursor. `runs`, `agents`: of its commit.

        Gives by how many bytes the ring has grown at most.
        """
        cursor, style = self.cursor_of(event), self.style
        self.newest = cursor
        if self._covered is None:
            # Without holes what lies before is the cursor before; else only what lies behind this one is known.
            self._covered = cursor - 1 if self.is_dense else cursor
        # For so few, who may take nothing, what is so long is not kept: each reads it from the store when there is room
        # for it. A frame is seldom shorter than its data, so that none is made to find that out.
        max_frame_bytes = MAX_CHUNK_BYTES * max(1, len(self.followers))
        is_long = style.live is None and len(event.data) > max_frame_bytes
        # What depends on earlier events that nobody has read yet is read from the store, after those.
        if is_long or (self._framing is not None and not self._framing.is_next(event)):
            self._leave_out(cursor)
            return 0
        try:
            if style.live is not None:
                frame = style.live(event, runs[event.run].row_at(event.seq), agents.get(event.agent))
            else:
                row = runs[event.run].after if style.with_row else None
                frame = self.frame(event, row)
        except Exception:  # it is committed all the same: whoever follows reads the store, and meets the defect alone
            log.exception("frame_failed", style=style.name, position=event.position)
            self.lose()
            return 0
        if len(frame) > max_frame_bytes:
            self._leave_out(cursor)
            return 0
        while self.frames and (len(self.frames) == self.frames.maxlen or self._bytes + len(frame) > self._max_bytes):
            self._covered, dropped = self.frames.popleft()
            self._bytes -= len(dropped)
        self.frames.append((cursor, frame))
        self._bytes += len(frame)
        return len(frame)

    def frame(self, event: Event, row: RunRow | None) -> bytes:
        """The frame of an event, b"" for none. `row`: of its run, where the style needs it."""
        make = self.style.frame if self._framing is None else self._framing.frame
        return make(event, self._epoch, row) or b""

    def wake(self) -> None:
        """Has all followers told that there is something to read, `TOLD_AT_ONCE` of them in a turn of the event loop.

        All of them before any is told of the next: commits may come faster than a round is over.
        """
        self._chunks.clear()
        if self._untold:
            self._is_stale = True
        elif self.followers:
            self._untold = list(self.followers)
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        told, self._untold = self._untold[:TOLD_AT_ONCE], self._untold[TOLD_AT_ONCE:]
        if self._is_stale and not self._untold:
            self._is_stale, self._untold = False, list(self.followers)
        if self._untold:  # asked for before anything can go wrong: without it nobody here would be told any more
            asyncio.get_running_loop().call_soon(self._tell)
        for follower in told:
            try:
                follower.tell()
            except Exception:  # a defect of one reader is his alone; where he comes back, he reads on from his cursor
                follower.stop()
                log.exception("reader_failed", style=self.style.name)

    def reaches(self, cursor: int) -> bool:
        """Whether the ring holds everything after this cursor."""
        return self._covered is not None and cursor >= self._covered

    def after(self, cursor: int) -> tuple[int, bytes] | None:
        """(new cursor, frames) after a cursor; None when the ring does not reach back that far.

        Joined once and shared by all followers that stand at the same place.
        """
        if not self.reaches(cursor):
            return None
        known = self._chunks.get(cursor)
        if known is None:
            known = self._join(cursor)
            if len(self._chunks) < MAX_SHARED_CHUNKS:
                self._chunks[cursor] = known
        return known

    def _join(self, cursor: int) -> tuple[int, bytes]:
        newer: list[tuple[int, bytes]] = []
        for entry in reversed(self.frames):
            if entry[0] <= cursor:
                break
            newer.append(entry)
        return first_chunk(cursor, reversed(newer))


def first_chunk(cursor: int, frames: Iterable[tuple[int, bytes]]) -> tuple[int, bytes]:
    """(cursor of the last, their bytes) of as many frames as make a chunk, at least one that is not empty."""
    taken: list[bytes] = []
    size = 0
    for position, frame in frames:
        if size and size + len(frame) > MAX_CHUNK_BYTES:
            break
        taken.append(frame)
        cursor, size = position, size + len(frame)
    return cursor, b"".join(taken)
