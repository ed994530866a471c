"""Takes those who connect off the listening sockets: many in a turn of the event loop, and each then waits for its own.

The loop's own server takes one connection a turn, first come, first served, and each turn is filled by those who are in
already: whoever connects often enough keeps everybody else out, and no turn knows who waits. Here all who have come are
taken at once. Each has its place in the ledger from then on, and what costs most, to make its connection, has turns by
address as all that strangers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Sequence

import structlog

from towerlog.asgi.guard.arrivals import Arrivals, Visit
from towerlog.asgi.http1.request import NO_PLACE, NO_PLACE_RETRY_S, plain_refusal
from towerlog.errors import Overloaded

BACKLOG = 2048
"""Connections that the kernel holds until they are accepted: a crowd that reconnects at the same moment."""
ACCEPTED_AT_ONCE = 128
"""Connections that are accepted from one socket in a turn of the loop."""
PAUSE_SECONDS = 0.1
"""How long none is accepted once the machine has no more files or memory for one."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_FAILED = "a connection could not be made"

_log = structlog.get_logger("towerlog.server")


class Acceptor:
    """Accepts the connections of one process."""

    def __init__(self, arrivals: Arrivals, connect: Callable[[Visit], asyncio.Protocol]) -> None:
        """`connect` makes the connection of a visit that has its place."""
        self.arrivals = arrivals
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._waiting: set[Newcomer] = set()
        """Accepted, and not begun; as many as the ledger has places for."""
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, listeners: Sequence[socket.socket]) -> None:
        """Begins to listen on these, which are bound, and to accept."""
        for listener in listeners:
            listener.setblocking(False)
            listener.listen(BACKLOG)
            self._listeners.append(listener)
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    async def close(self) -> None:
        """Accepts nobody any more; who has been accepted and has not begun is let go."""
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
        for pause in self._pauses.values():
            pause.cancel()
        self._listeners, self._pauses = [], {}
        for newcomer in list(self._waiting):
            newcomer.leave()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listener, error)
                    return
                continue  # of one who has gone already (accept(2))
            self._arrive(accepted, peer)

    def _arrive(self, accepted: socket.socket, peer: object) -> None:
        # A link-local address has its interface behind it, which is no part of whose it is.
        known = (peer[0].partition("%")[0], peer[1]) if isinstance(peer, tuple) else None
        try:
            newcomer = Newcomer(self, accepted, self.arrivals, known)
        except Exception:
            accepted.close()
            _log.exception(_FAILED)
            return
        visit, pace = newcomer.visit, self.arrivals.pace
        with _giving_back(newcomer):
            visit.enter()
            if pace.is_over(visit.is_stranger):
                self._waiting.add(newcomer)
                pace.wait(newcomer, visit.whose, visit.is_stranger)
            else:
                newcomer.begin()

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        _log.warning("no more connections can be accepted for a moment", error=str(error))
        self._loop.remove_reader(listener.fileno())
        self._pauses[listener] = self._loop.call_later(PAUSE_SECONDS, self._go_on, listener)

    def _go_on(self, listener: socket.socket) -> None:
        del self._pauses[listener]
        self._loop.add_reader(listener.fileno(), self._accept, listener)

    def hand_over(self, newcomer: Newcomer) -> None:
        """Makes the connection of somebody whose turn it is."""
        self._waiting.discard(newcomer)
        pace = self.arrivals.pace
        pace.spend(self._loop, 0, newcomer.visit.is_stranger)
        task = self._loop.create_task(self._make(newcomer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make(self, newcomer: Newcomer) -> None:
        with _giving_back(newcomer):
            if newcomer.socket.fileno() < 0:  # it has given way meanwhile
                return
            connection = self._connect(newcomer.visit)
            newcomer.is_handed_over = True
            await self._loop.connect_accepted_socket(lambda: connection, newcomer.socket)

    def let_go(self, newcomer: Newcomer) -> None:
        """Called when a connection leaves the queue."""
        self._waiting.discard(newcomer)
        self.arrivals.pace.leave(newcomer)


@contextlib.contextmanager
def _giving_back(newcomer: Newcomer) -> Iterator[None]:
    """Whatever goes wrong on the way to its connection, its place is given back: nobody else would do that."""
    try:
        yield
    except Overloaded as refusal:
        newcomer.refuse(refusal)
    except OSError:  # it has gone meanwhile
        newcomer.leave()
    except BaseException as error:
        newcomer.leave()
        if not isinstance(error, Exception):
            raise
        _log.exception(_FAILED)


class Newcomer:
    """One who was accepted and has no connection yet."""

    __slots__ = ("_acceptor", "is_handed_over", "socket", "visit")

    def __init__(
        self, acceptor: Acceptor, accepted: socket.socket, arrivals: Arrivals, peer: tuple[str, int] | None
    ) -> None:
        self._acceptor = acceptor
        self.is_handed_over = False
        """Its socket is the loop's."""
        self.socket = accepted
        self.visit = arrivals.visit(peer, self)

    @property
    def is_idle(self) -> bool:
        """Nothing of it was read."""
        return True

    def begin(self) -> None:
        """Its turn has come."""
        with _giving_back(self):
            self._acceptor.hand_over(self)

    def refuse(self, refusal: Overloaded) -> None:
        """There is no place for it."""
        self._say(plain_refusal(503, refusal.message, refusal.retry_after))
        self.leave()

    def leave(self) -> None:
        """Ends it and gives its place back."""
        self.visit.leave()
        self._end()

    def make_place(self) -> None:
        """Ends it: another needs its place."""
        self._say(plain_refusal(503, NO_PLACE, NO_PLACE_RETRY_S))
        self._end()

    def _say(self, words: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.setblocking(False)
            self.socket.send(words)

    def _end(self) -> None:
        self._acceptor.let_go(self)
        if self.is_handed_over:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        else:
            self.socket.close()

    def cut_reader(self) -> None:
        """It reads nothing yet."""
