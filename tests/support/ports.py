"""A port that belongs to one test: bound for as long as the test needs it, so that nobody else is given it.

Nobody listens on it, so a connection is refused. A server of the test may listen on it all the same, and again after
a restart: Linux lets two sockets be bound to one address when both have `SO_REUSEADDR` and at most one listens.
"""

from __future__ import annotations

import socket
from types import TracebackType


class HeldPort:
    """One port of 127.0.0.1, given back by `close`."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.number}"

    def close(self) -> None:
        """From now on the port may be anybody's."""
        self._socket.close()

    def __enter__(self) -> HeldPort:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
