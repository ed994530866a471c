"""Server-sent events: a follower's frames go out as they come, a comment after fifteen seconds of silence.

A stream is a cursor and one socket: no queue, one extra task that waits for the reader to leave. One beat a second
looks after all of them. A reader that takes nothing for thirty seconds is cut off and resumes by its cursor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from towerlog.asgi.guard.admission import Admission
from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.replies import Headers, Message, Receive, Send
from towerlog.dialects.base import FrameStyle
from towerlog.engine.follow.follower import Follower
from towerlog.model.principal import Principal

PING = b": ping\n\n"
SILENCE_MS = 15_000
SLOW_MS = 30_000
SPREAD_MS = 1000
"""Every other stream breaks its silence so much earlier, so that those that began together do not ping together."""
_SLICES = 20
"""Into how many parts of a second the pings of one beat are spread."""
_RETRY_MS = (1000, 8000)
"""What a stream tells its reader to wait when the server goes down: spread out, so that not all come back at once."""


class Stream:
    """One open stream. Made by `Streams.open`; `run` it to its end."""

    __slots__ = (
        "_abort",
        "_follower",
        "_head",
        "_parting",
        "_principal",
        "_receive",
        "_send",
        "_streams",
        "_style",
        "_task",
        "is_ping_due",
        "patience_ms",
        "quiet_since",
        "sending_since",
    )

    def __init__(
        self,
        streams: Streams,
        follower: Follower,
        style: FrameStyle,
        principal: Principal,
        message: tuple[Receive, Send, list[tuple[bytes, bytes]], Callable[[], None] | None],
        patience_ms: int,
    ) -> None:
        self._streams = streams
        self._follower = follower
        self._style = style
        self._principal = principal
        self._receive, self._send, self._head, self._abort = message
        self._parting = b""
        self._task: asyncio.Task[None] | None = None
        self.is_ping_due = False
        self.patience_ms = patience_ms
        """How long it is silent before it pings."""
        self.quiet_since = streams.now_ms
        """When something was sent last."""
        self.sending_since = 0
        """When the send that is under way began; 0 for none."""

    async def run(self) -> None:
        """Sends until the log, the reader, the server or the key comes to its end. Always gives everything back."""
        self._task = asyncio.current_task()
        listener = asyncio.get_running_loop().create_task(self._listen())
        listener.add_done_callback(self._left)
        try:
            self._streams.begin(self, self._principal)
            await self._send({"type": "http.response.start", "status": 200, "headers": self._head})
            self._head = []
            if self._style.prologue:
                await self._put(self._style.prologue)
            await self._pump()
            await self._put(self._parting, more=False)
        except asyncio.CancelledError:
            # Cut off for taking nothing, or the server's patience at its end is over: either way nobody reads.
            if self._abort is not None:
                self._abort()
            await asyncio.sleep(0)
        finally:
            listener.remove_done_callback(self._left)
            listener.cancel()
            self._follower.close()
            self._streams.end(self, self._principal)

    def part(self, farewell: bytes = b"") -> None:
        """Ends the stream from our side: what is there is sent, then `farewell` and the style's closing words."""
        self._parting = farewell + self._style.closing
        self._follower.stop()

    def revoke(self) -> None:
        """The key is no longer good."""
        self.part()

    def ping(self) -> None:
        """Has a comment sent, unless something else goes out first."""
        self.is_ping_due = True
        self._follower.wake()

    def cut(self) -> None:
        """Ends a send that does not end."""
        self._follower.stop()
        if self._task is not None:
            self._task.cancel()

    async def _pump(self) -> None:
        read, send, streams = self._follower.read, self._send, self._streams
        while True:
            chunk = await read()
            if not chunk:
                if chunk is None:
                    return
                if not self.is_ping_due:
                    continue
                chunk = PING
            self.is_ping_due = False
            # As in _put, but without its call: a thousand followers of one run come through here for every frame.
            self.sending_since = self.quiet_since = streams.now_ms
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            self.sending_since = 0

    async def _put(self, chunk: bytes, *, more: bool = True) -> None:
        self.sending_since = self.quiet_since = self._streams.now_ms
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        self.sending_since = 0

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _left(self, listener: asyncio.Task[None]) -> None:
        if not listener.cancelled():
            listener.exception()
        self._follower.stop()


class Streams:
    """All open streams."""

    def __init__(self, auth: Authenticator, admission: Admission, now_ms: int) -> None:
        """`now_ms` is the steady time; from here on `tick` tells it."""
        self.now_ms = now_ms
        self.opened = 0
        self.cut_off = 0
        self.is_closing = False
        self._auth = auth
        self._admission = admission
        self._open: set[Stream] = set()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def open(
        self,
        follower: Follower,
        style: FrameStyle,
        principal: Principal,
        scope: Message,
        receive: Receive,
        send: Send,
        head: list[tuple[bytes, bytes]],
    ) -> Stream:
        """A stream that has a place in `Admission`, to be run at once."""
        self.opened += 1
        patience_ms = SILENCE_MS - self.opened % 2 * SPREAD_MS
        return Stream(self, follower, style, principal, (receive, send, head, _abort_of(scope)), patience_ms)

    def begin(self, stream: Stream, principal: Principal) -> None:
        """Takes a stream in."""
        self._open.add(stream)
        self._auth.watch(principal, stream.revoke)
        if self.is_closing:
            stream.part()

    def end(self, stream: Stream, principal: Principal) -> None:
        """Lets a stream go."""
        self._open.discard(stream)
        self._auth.unwatch(principal, stream.revoke)
        self._admission.give_stream()

    def close(self) -> None:
        """Ends all streams in an orderly way, each with its own time to come back."""
        self.is_closing = True
        shortest, longest = _RETRY_MS
        for number, stream in enumerate(list(self._open)):
            wait_ms = shortest + number * 7919 % (longest - shortest)
            stream.part(b"retry: %d\n\n" % wait_ms)

    def tick(self, now_ms: int) -> None:
        """Pings the silent, cuts off the stuck."""
        self.now_ms = now_ms
        silent: list[Stream] = []
        for stream in list(self._open):
            if stream.sending_since:
                if now_ms - stream.sending_since > SLOW_MS:
                    self.cut_off += 1
                    stream.cut()
            elif now_ms - stream.quiet_since >= stream.patience_ms:
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


def stream_head(trace_id: str, epoch: str, extra: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of every stream: nothing on the way may store, change or hold it back."""
    return [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"x-log-epoch", epoch.encode("ascii")),
        (b"x-trace-id", trace_id.encode("ascii")),
        *extra,
    ]


def _abort_of(scope: Message) -> Callable[[], None] | None:
    """How to drop the connection without waiting for a reader that does not read; the server tells, if it can."""
    with contextlib.suppress(KeyError, TypeError):
        abort: Callable[[], None] = scope["extensions"]["towerlog.abort"]
        return abort
    return None
