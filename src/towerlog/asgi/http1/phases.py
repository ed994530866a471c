"""The phases of a connection and its one timer: how long and how large what comes may be, and how long who reads.

It watches; what is refused is said in `pipeline.py`, what is served in `asgi/connection.py`.
"""

from __future__ import annotations

import asyncio
import enum
import fcntl
import math
import struct
import termios
from abc import ABC, abstractmethod

from towerlog.asgi.guard.arrivals import Visit
from towerlog.asgi.guard.pace import DROPPED_PART_BYTES, Pace

HEAD_DEADLINE_S = 10.0
BODY_DEADLINE_S = 30.0
STEP_BYTES = 64 * 1024
"""What is parsed at a time, so that what a head may hold is seen to be too much before all of it is kept."""
LINES_STEP_BYTES = 8 * 1024
"""The same where what comes may be lines, as heads, trailers and chunks are: of those a piece costs the parser most."""
MAX_IDLE_BODY_BYTES = 64 * 1024
"""What may come of a body beyond as much as there is of it: trailers, and whatever else a chunk may bring, the lines of
tiny chunks among them, which cost far more than they bring."""
MAX_WAITING_BODY_BYTES = 64 * 1024
"""What is read of a body before anybody asks for it, and one packet."""
MAX_PIPELINED = 4
"""Requests that wait behind the one that is served."""
SLOW_READER_S = 30.0
"""After so long whoever takes nothing is cut off, whatever it reads: a reply, a stream, or a refusal."""
MIN_TAKEN_BYTES = 16 * 1024
"""What a reader has to take in that time, where more than that is there for it."""
LINGER_S = 2.0
MAX_LINGER_BYTES = 16 * 1024 * 1024
"""What is read and dropped after the last reply, so that its sender gets to read it (RFC 9112, 9.6)."""
_GRAIN_S = 0.002
"""Timers may go off so much too early."""


class ConnectionPhase(enum.Enum):
    """What is awaited of the other side."""

    HEAD = enum.auto()
    """The rest of a head; of the first one, from connecting on."""
    BODY = enum.auto()
    """The rest of a body, with its trailers."""
    REPLY = enum.auto()
    """Nothing: replies are owed. What comes meanwhile is pipelined."""
    IDLE = enum.auto()
    """The next request, or none."""
    LINGER = enum.auto()
    """Nothing more is said; what still comes is dropped."""
    CLOSING = enum.auto()
    """The peer to read what is unsent."""


_EXPECTING = frozenset({ConnectionPhase.HEAD, ConnectionPhase.BODY})


class Phases(asyncio.Protocol, ABC):
    """The phases of one connection."""

    __slots__ = (
        "_count",
        "_drained",
        "_due",
        "_fires_at",
        "_ignores_input",
        "_is_read_paused",
        "_keep_alive_s",
        "_kept",
        "_last_bytes",
        "_left_s",
        "_loop",
        "_pace",
        "_phase",
        "_stall_due",
        "_timer",
        "_unsent",
        "_visit",
        "given_bytes",
        "is_write_paused",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, keep_alive_s: float) -> None:
        """`keep_alive_s`: how long it may stay open between two requests."""
        self.transport: asyncio.Transport
        self.is_write_paused = False
        """Something that was written has not left this process."""
        self.given_bytes = 0
        """The length of what is being written. It stays in memory whole until the last byte of it has left."""
        self._visit: Visit
        self._pace: Pace
        self._loop = loop
        self._keep_alive_s = keep_alive_s
        self._drained: asyncio.Future[None] | None = None
        self._phase = ConnectionPhase.HEAD
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf
        self._due = math.inf
        """When the phase has taken too long."""
        self._stall_due = math.inf
        """When whoever reads has to have taken something."""
        self._unsent = 0
        """What it had not taken when that was set."""
        self._count = 0
        """Bytes that came in this phase, of those that are counted in it."""
        self._is_read_paused = False
        self._kept = b""
        """What has come and waits for a turn to be looked at; nothing more is read before that."""
        self._left_s = math.inf
        """How much of the phase's time was left when reading was paused."""
        self._last_bytes: bytes | None = None
        """What the last request is refused with, once those before it have their replies."""
        self._ignores_input = False
        """Nothing that comes is looked at any more: the last request is in hand, or was refused."""

    # How it ends

    def close(self) -> None:
        """Ends the connection after what was written, if that is taken in time."""
        self._ignores_input = True
        self._await(ConnectionPhase.CLOSING, SLOW_READER_S)
        self.transport.close()

    def _stop_listening(self) -> None:
        self._ignores_input, self._phase, self._due, self._count = True, ConnectionPhase.REPLY, math.inf, 0

    def _linger(self) -> None:
        """Ends it from our side, and waits for the other: a reset would take the last reply from its reader."""
        if not self.transport.is_closing():
            self._stop_listening()
            if self._last_bytes:
                self.given_bytes = len(self._last_bytes)
                self.transport.write(self._last_bytes)
            try:
                self.transport.write_eof()
            except OSError:  # the other side has reset it in this very moment: there is nobody to wait for
                self.transport.abort()
                return
            self._resume_reading()
            self._await(ConnectionPhase.LINGER, LINGER_S)

    def _drop(self, size: int) -> None:
        """So much has come that nobody will look at. To read it takes time as well: it is read in turns."""
        self._count += size
        if self._count > MAX_LINGER_BYTES:
            self.transport.abort()
            return
        self._pace.count(self._loop, 1 + size // DROPPED_PART_BYTES, self._visit.is_stranger)
        if self._is_turn_over() and not self._is_read_paused and not self.transport.is_closing():
            self.transport.pause_reading()
            self._wait_for_turn()

    def _go_on_dropping(self) -> None:
        """Resumes dropping input."""
        if not (self._is_read_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def _take_kept(self) -> bytes:
        """What has waited for its turn is looked at now, or never."""
        data, self._kept = self._kept, b""
        self._visit.unkeep()
        return data

    # Turns of the event loop

    def _is_turn_over(self) -> bool:
        """Whether nothing more of it may begin in this turn."""
        return self._pace.is_over(self._visit.is_stranger)

    def _wait_for_turn(self) -> None:
        """Has `begin` called in one of the next turns."""
        self._pace.wait(self, self._visit.whose, self._visit.is_stranger)

    def _spend(self, size: int) -> None:
        """A piece of its work begins that reads so many bytes."""
        self._pace.spend(self._loop, size, self._visit.is_stranger)

    @abstractmethod
    def begin(self) -> None:
        """Goes on with what waits for its turn, if it still does. Called by the pace."""

    # Who reads

    def pause_writing(self) -> None:
        """There is more for the reader than it takes. Called by the transport, from within the write."""
        self.is_write_paused = True
        self._unsent = self._unsent_bytes()
        self._stall_due = self._loop.time() + SLOW_READER_S
        if self._visit.hold_reply(max(self.given_bytes, self.transport.get_write_buffer_size())):
            self._arm()
        else:
            self.cut_reader()
            self._visit.hold_reply(0)

    def resume_writing(self) -> None:
        """It has taken all of it. Called by the transport."""
        self.is_write_paused = False
        self._stall_due = math.inf
        self._visit.hold_reply(0)
        if self._phase is ConnectionPhase.IDLE:
            self._await(ConnectionPhase.IDLE, self._keep_alive_s)

    def _go_on_writing(self) -> bool:
        """Wakes who waits for room; whether somebody did."""
        drained, self._drained = self._drained, None
        if drained is None or drained.done():
            return False
        drained.set_result(None)
        return True

    async def drain(self) -> None:
        """Returns when there is room for more and it has its turn, or when there is nobody to take it."""
        while self.is_write_paused:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def _judge_reader(self) -> None:
        unsent = self._unsent_bytes()
        if self._unsent - unsent < min(MIN_TAKEN_BYTES, self._unsent):
            self.cut_reader()
        else:
            self._unsent, self._stall_due = unsent, self._loop.time() + SLOW_READER_S

    def cut_reader(self) -> None:
        """Ends the connection: what was written is not taken, or its room is needed for others."""
        self._stall_due = math.inf
        self._visit.cut()
        self.transport.abort()

    def _unsent_bytes(self) -> int:
        """What the reader has not taken, of ours and of what the kernel holds for it."""
        size = self.transport.get_write_buffer_size()
        found = self.transport.get_extra_info("socket")
        if found is not None:
            size += struct.unpack("i", fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        return size

    # The timer

    def _await(self, phase: ConnectionPhase, seconds: float) -> None:
        self._phase, self._due = phase, self._loop.time() + seconds
        self._arm()

    def _arm(self) -> None:
        """Sees to it that the timer goes off when something is due. One that goes off too early only looks."""
        due = min(self._due, self._stall_due)
        if due == math.inf or self._fires_at <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = due
        self._timer = self._loop.call_later(max(0.0, due - self._loop.time()), self._look)

    def _disarm(self) -> None:
        self._due = self._stall_due = self._fires_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer, self._fires_at = None, math.inf
        now = self._loop.time() + _GRAIN_S
        if now >= self._stall_due:
            self._judge_reader()
        if now >= self._due:
            self._overdue()
        self._arm()

    def _overdue(self) -> None:
        """The phase has taken too long. Whoever has still to take what was written is judged by what it takes."""
        self._due = math.inf
        match self._phase:
            case ConnectionPhase.HEAD:
                self._head_overdue()
            case ConnectionPhase.BODY:
                self._body_overdue()
            case ConnectionPhase.IDLE:
                if not self.is_write_paused:
                    self.close()
            case ConnectionPhase.LINGER:
                self.close()
            case ConnectionPhase.CLOSING:
                if not self.is_write_paused:
                    self.cut_reader()
            case ConnectionPhase.REPLY:
                pass

    @abstractmethod
    def _head_overdue(self) -> None:
        """The head has not come in time."""

    @abstractmethod
    def _body_overdue(self) -> None:
        """The body has not come in time."""

    def _expect(self, phase: ConnectionPhase, seconds: float) -> None:
        """The rest of a head or a body has to come within so much time in which we read."""
        if self._is_read_paused:
            self._left_s = seconds
        else:
            self._await(phase, seconds)

    def _pause_reading(self) -> None:
        """What is not read cannot be late: its time stands still."""
        if not self._is_read_paused:
            self._is_read_paused = True
            self._left_s, self._due = self._due - self._loop.time(), math.inf
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_read_paused:
            self._is_read_paused = False
            if self._phase in _EXPECTING and self._left_s < math.inf:
                self._await(self._phase, self._left_s)
            if self._kept:
                # Not from within a reply, so that no depth of them nests.
                self._wait_for_turn()
                self._pace.note(self._loop)
            else:
                self.transport.resume_reading()
