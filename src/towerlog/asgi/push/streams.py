"""Streams: a follower's chunks go out as they come, a ping after fifteen seconds of silence. Any transport: see `Sink`.

A stream is a cursor and one socket: no queue, one extra task that waits for the reader to leave. One beat a second
looks after all of them. How long a reader may take nothing is its connection's to say (`asgi/http1/phases.py`), as with
any other reply: to a stream, one that was cut off has left.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable

import msgspec

from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.push.outflow import COUNTED_FROM_BYTES, SMALL_BYTES, Outflow
from towerlog.asgi.push.sink import COMPLETE, REVOKED, Cause, Sink, StreamEnd
from towerlog.asgi.shares.turns import Turns
from towerlog.engine.follow.channel import MAX_CHUNK_BYTES
from towerlog.engine.follow.follower import StreamReader
from towerlog.model.principal import Principal

SILENCE_MS = 15_000
HELD_MS = 2000
"""Who does not go on taking a large frame for so long lets it go; it is read again when there is room for more."""
SPREAD_MS = 1000
"""Every other stream breaks its silence so much earlier, so that those that began together do not ping together."""
_SLICES = 20
"""Into how many parts of a second the pings of one beat are spread."""
_RETRY_MS = (1000, 8000)
"""What a stream tells its reader to wait when the server goes down: spread out, so that not all come back at once; or
when it has to make place, then the longest."""


class StreamPlace(msgspec.Struct, frozen=True):
    """A stream's place among those of its key, its organisation and the process."""

    give_back: Callable[[], None]
    turns: Turns
    """For frames larger than a chunk."""
    org_id: str
    key_id: str
    """Whose it is: by these the turns are shared."""


class Stream:
    """One open stream. Made by `Streams.open`; `run` it to its end."""

    __slots__ = (
        "_call",
        "_end",
        "_follower",
        "_is_full",
        "_is_over",
        "_large",
        "_place",
        "_principal",
        "_sink",
        "_streams",
        "_task",
        "_turns",
        "is_ping_due",
        "patience_ms",
        "quiet_since",
        "sending_since",
    )

    def __init__(
        self,
        streams: Streams,
        follower: StreamReader,
        sink: Sink,
        principal: Principal,
        patience_ms: int,
        place: StreamPlace,
    ) -> None:
        self._streams = streams
        self._follower = follower
        self._sink = sink
        self._principal = principal
        self._place = place
        self._end = COMPLETE
        self._is_over = False
        """Whether it is to send nothing more."""
        self._is_full = False
        """Its reader has not taken at once what was put."""
        self._large: bytes | None = None
        """A frame larger than a chunk, while its reader takes it."""
        self._turns = contextlib.ExitStack()
        """The turn in which it is held."""
        self._call: asyncio.Future[None] | None = None
        """What calls it while it waits for a turn: a ping that is due, or its end."""
        self._task: asyncio.Task[None] | None = None
        self.is_ping_due = False
        self.patience_ms = patience_ms
        """How long it is silent before it pings."""
        self.quiet_since = streams.steady_ms
        """When something was sent last."""
        self.sending_since = 0
        """When the send that is under way began; 0 for none."""

    async def run(self) -> None:
        """Sends until the log, the reader, the server or the key comes to its end. Always gives everything back."""
        self._task = asyncio.current_task()
        listener = asyncio.get_running_loop().create_task(self._sink.gone())
        listener.add_done_callback(self._left)
        try:
            self._streams.begin(self, self._principal)
            await self._timed(self._sink.start())
            self._follower.take = self._take
            await self._pump()
            await self._timed(self._sink.finish(self._end))
        except asyncio.CancelledError:
            # Half a frame is all that it can get, or the server's patience at its end is over.
            self._sink.abort()
            await asyncio.sleep(0)
        finally:
            listener.remove_done_callback(self._left)
            listener.cancel()
            self._follower.take = None  # else the two would keep each other in memory
            self._follower.close()
            self._streams.end(self, self._principal)
            self._place.give_back()

    def end_with(self, end: StreamEnd) -> None:
        """Ends the stream from our side: the chunk under way is sent, then `end`."""
        self._end = end
        self._stop()

    def revoke(self) -> None:
        """The key is no longer good."""
        self.end_with(REVOKED)

    def make_place(self) -> None:
        """Ends it for somebody whose streams are fewer."""
        self.end_with(StreamEnd(Cause.CROWDED, _RETRY_MS[1]))

    def ping(self) -> None:
        """Has a ping sent, unless something else goes out first."""
        self.is_ping_due = True
        self._follower.wake()
        self._wake_in_line()

    def cut(self) -> None:
        """Ends a send that does not end."""
        self._stop()
        if self._task is not None:
            self._task.cancel()

    def let_go(self) -> None:
        """Lets a large frame go that its reader does not go on taking."""
        if self._large is not None:
            self._large = None
            self._follower.put_back()
            self._turns.close()

    def _take(self, chunk: bytes) -> bool:
        """Sends what its task would have to be woken for: with a thousand followers that costs as much as the sending.

        False for what has to be sent by the task.
        """
        outflow = self._streams.outflow
        if self._is_over or len(chunk) > MAX_CHUNK_BYTES or not self._sink.has_room():
            return False
        if outflow.left_bytes <= 0 and len(chunk) > SMALL_BYTES:
            return False
        outflow.left_bytes -= len(chunk)
        if outflow.left_bytes < COUNTED_FROM_BYTES:
            outflow.note()
        self.is_ping_due = False
        self.quiet_since = self._streams.steady_ms
        self._sink.put(chunk)
        if not self._sink.has_room():
            # Nothing more is read before the reader has taken this: it would be held as well.
            self._is_full = True
            self._follower.wake()
        return True

    async def _pump(self) -> None:
        while True:
            chunk = await self._follower.read()
            if chunk:
                if len(chunk) > MAX_CHUNK_BYTES:
                    self._large, chunk = chunk, None
                    await self._send_large()
                    continue
                if not await self._may_send(chunk, is_inside=False):
                    continue
                self.is_ping_due = False
                await self._timed(self._sink.send(chunk))
            elif chunk is None:
                return
            elif self._is_full:
                self._is_full = False
                await self._timed(self._sink.send(b""))
            elif self.is_ping_due:
                self.is_ping_due = False
                await self._timed(self._sink.ping())

    async def _send_large(self) -> None:
        """Sends a frame that is larger than a chunk. It is held only in its turn, and only while its reader takes it.

        Otherwise every reader that takes nothing would keep one in memory.
        """
        sent = check = 0
        try:
            while await self._holds_large(sent, check):
                while self._large is not None:
                    piece = self._large[sent : sent + MAX_CHUNK_BYTES]
                    if not await self._may_send(piece, is_inside=sent > 0):
                        return
                    sent, check = sent + len(piece), zlib.crc32(piece, check)
                    if sent == len(self._large):
                        # From here on there is nothing to be read again.
                        self._large = None
                        self._turns.close()
                        await self._timed(self._sink.send(piece))
                        return
                    await self._timed(self._sink.send(piece))
        finally:
            self._large = None
            self._turns.close()
        if sent:
            # Half a frame is sent, and the rest will not follow: nothing that is said behind it could be understood.
            self.cut()
            await asyncio.sleep(0)

    async def _may_send(self, chunk: bytes, *, is_inside: bool) -> bool:
        """Waits until it may go out; False where the stream comes to its end before. `is_inside`: half a frame is sent,
        and is not left so."""
        outflow = self._streams.outflow
        if outflow.left_bytes > 0 or (len(chunk) <= SMALL_BYTES and not is_inside):
            outflow.spend(len(chunk))
            return True
        turn = outflow.ask(self._place.org_id, self._place.key_id, len(chunk))
        try:
            if not is_inside:
                return await self._in_line(turn, is_inside=False)
            await turn
            return True
        finally:
            outflow.leave(turn)

    async def _holds_large(self, sent: int, check: int) -> bool:
        """Takes a turn for a large frame, and reads it again where it was let go meanwhile.

        False where there is none any more that begins with the `sent` bytes of this checksum.
        """
        turns, org_id, key_id = self._place.turns, self._place.org_id, self._place.key_id
        if not turns.is_free(org_id, key_id):
            self.let_go()
        turn = turns.ask(org_id, key_id)
        self._turns.callback(turns.end, turn)
        if not turn.done() and not await self._in_line(turn, is_inside=sent > 0):
            return False
        if self._large is None:
            self._large = await self._follower.read()
        # A frame may also tell of its run, which has moved on since.
        return bool(self._large) and zlib.crc32(memoryview(self._large or b"")[:sent]) == check

    async def _in_line(self, turn: asyncio.Future[None], *, is_inside: bool) -> bool:
        """Waits for a turn, and pings meanwhile; False where the stream comes to its end before.

        `is_inside`: half a frame is sent. A ping would become a part of it.
        """
        loop = asyncio.get_running_loop()
        while not turn.done() and not self._is_over:
            if self.is_ping_due:
                self.is_ping_due = False
                if is_inside:
                    self.quiet_since = self._streams.steady_ms
                else:
                    await self._timed(self._sink.ping())
                continue
            self._call = loop.create_future()
            await asyncio.wait((turn, self._call), return_when=asyncio.FIRST_COMPLETED)
        self._call = None
        return not self._is_over

    def _wake_in_line(self) -> None:
        if self._call is not None and not self._call.done():
            self._call.set_result(None)

    def _stop(self) -> None:
        self._is_over = True
        self._follower.stop()
        self._wake_in_line()

    async def _timed(self, sending: Awaitable[None]) -> None:
        self.sending_since = self.quiet_since = self._streams.steady_ms
        await sending
        self.sending_since = 0

    def _left(self, listener: asyncio.Task[None]) -> None:
        if not listener.cancelled():
            listener.exception()
        self._stop()


class Streams:
    """All open streams."""

    def __init__(self, auth: Authenticator, steady_ms: int) -> None:
        """`steady_ms` is the steady time; from here on `tick` tells it."""
        self.steady_ms = steady_ms
        self.opened = 0
        self.is_closing = False
        self.outflow = Outflow()
        self._auth = auth
        self._open: set[Stream] = set()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def open(self, follower: StreamReader, sink: Sink, principal: Principal, place: StreamPlace) -> Stream:
        """A stream, to be run at once; at its end it gives back its place among all."""
        self.opened += 1
        patience_ms = SILENCE_MS - self.opened % 2 * SPREAD_MS
        return Stream(self, follower, sink, principal, patience_ms, place)

    def begin(self, stream: Stream, principal: Principal) -> None:
        """Takes a stream in."""
        self._open.add(stream)
        self._auth.watch(principal, stream.revoke)
        if self.is_closing:
            stream.end_with(StreamEnd(Cause.CLOSING))

    def end(self, stream: Stream, principal: Principal) -> None:
        """Lets a stream go."""
        self._open.discard(stream)
        self._auth.unwatch(principal, stream.revoke)

    def close(self) -> None:
        """Ends all streams in an orderly way, each with its own time to come back."""
        self.is_closing = True
        shortest, longest = _RETRY_MS
        for number, stream in enumerate(list(self._open)):
            stream.end_with(StreamEnd(Cause.CLOSING, shortest + number * 7919 % (longest - shortest)))

    def tick(self, steady_ms: int) -> None:
        """Pings the silent, and has those let go of a large frame whose readers do not go on taking it."""
        self.steady_ms = steady_ms
        silent: list[Stream] = []
        for stream in list(self._open):
            if stream.sending_since:
                if steady_ms - stream.sending_since > HELD_MS:
                    stream.let_go()
            elif steady_ms - stream.quiet_since >= stream.patience_ms:
                silent.append(stream)
        self._ping(silent)

    def _ping(self, silent: list[Stream]) -> None:
        """Spread over the second: ten thousand at once would hold up everybody else."""
        if not silent:
            return
        loop = asyncio.get_running_loop()
        size = -(-len(silent) // _SLICES)
        for number, at in enumerate(range(0, len(silent), size)):
            loop.call_later(number / (_SLICES + 1), _ping_all, silent[at : at + size])


def _ping_all(streams: list[Stream]) -> None:
    for stream in streams:
        stream.ping()
