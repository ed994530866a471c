"""One subject in one style: a ring of its newest frames, encoded once for all who follow it, and who waits for more."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

import structlog

from towerlog.dialects.base import FrameStyle
from towerlog.engine.follow.subjects import CURSORS, DENSE, Subject
from towerlog.model.event import Event
from towerlog.model.run import RunRow
from towerlog.wake.base import Change

log = structlog.get_logger("towerlog.follow")


RING_FRAMES = 1000


RING_BYTES = 4 * 1024 * 1024
"""A ring holds at most so many frames and so many bytes; a follower further behind reads the store."""


MAX_CHUNK_BYTES = 256 * 1024
"""A follower takes at most this much at a time, or one frame that is larger."""


MAX_SHARED_CHUNKS = 32


class Reader(Protocol):
    """Who reads a channel, as the channel and the hub know him."""

    def wake(self) -> None:
        """There may be something to read."""
        ...

    def stop(self) -> None:
        """Nothing more will come."""
        ...


class Channel:
    """One subject's newest frames in one style, and who waits for more."""

    __slots__ = ("_bytes", "_chunks", "_covered", "_epoch", "cursor_of", "ended", "followers", "frames", "key", "style")

    def __init__(self, subject: Subject, style: FrameStyle, epoch: str) -> None:
        """Empty: what came before its first follower is in the store."""
        self.key = (subject, style.name)
        self.style = style
        self.cursor_of = CURSORS[subject[0]]
        self.frames: deque[tuple[int, bytes]] = deque(maxlen=RING_FRAMES)
        self.followers: set[Reader] = set()
        self.ended: RunRow | None = None
        """The run's row as of its newest event, once its end was published."""
        self._epoch = epoch
        self._bytes = 0
        self._covered: int | None = None
        """The ring holds everything after this cursor; None while it holds nothing."""
        self._chunks: dict[int, tuple[int, bytes]] = {}

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

    def _lose(self) -> None:
        """Holds nothing any more: what comes next begins anew."""
        self.forget()
        self._covered = None

    def publish(self, event: Event, runs: Mapping[int, Change]) -> None:
        """Adds a committed event; one without a frame still moves the cursor. `runs`: those of its commit."""
        cursor, style = self.cursor_of(event), self.style
        if self._covered is None:
            # Without holes what lies before is the cursor before; else only what lies behind this one is known.
            self._covered = cursor - 1 if self.is_dense else cursor
        try:
            row = runs[event.run].after if style.with_row else None
            frame = style.frame(event, self._epoch, row) or b""
        except Exception:  # it is committed all the same: whoever follows reads the store, and meets the defect alone
            log.exception("frame_failed", style=style.name, position=event.position)
            self._lose()
            return
        while self.frames and (len(self.frames) == RING_FRAMES or self._bytes + len(frame) > RING_BYTES):
            self._covered, dropped = self.frames.popleft()
            self._bytes -= len(dropped)
        self.frames.append((cursor, frame))
        self._bytes += len(frame)

    def wake(self) -> None:
        """Tells all followers that there is something to read."""
        self._chunks.clear()
        for follower in self.followers:
            follower.wake()

    def after(self, cursor: int) -> tuple[int, bytes] | None:
        """(new cursor, frames) after a cursor; None when the ring does not reach back that far.

        Joined once and shared by all followers that stand at the same place.
        """
        if self._covered is None or cursor < self._covered:
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
        taken: list[bytes] = []
        size = 0
        for position, frame in reversed(newer):
            if taken and size + len(frame) > MAX_CHUNK_BYTES:
                break
            taken.append(frame)
            cursor, size = position, size + len(frame)
        return cursor, b"".join(taken)
