"""A way to PostgreSQL that a test can cut: a socket in a folder of its own, whose connections lead to the real one."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

NAME = ".s.PGSQL.5432"
CHUNK_BYTES = 65_536


class SocketProxy:
    """Takes connections until it is closed. Each direction has a thread, which ends with its connection."""

    def __init__(self, folder: Path, target: Path) -> None:
        """`target`: the folder of the server's socket."""
        self.folder = folder
        self._target = str(target / NAME)
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._silent: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / NAME))
        (folder / NAME).chmod(0o777)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(self._target)
            except OSError:
                near.close()
                far.close()
                continue
            with self._lock:
                self._pairs.add((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink, (near, far)), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if source not in self._silent:
                    sink.sendall(data)
        self._end(pair)

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.discard(pair)
            self._silent -= set(pair)
        for one in pair:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def hush(self) -> None:
        """Nothing comes through the connections that there are, and they do not end; new ones work."""
        with self._lock:
            self._silent |= {one for pair in self._pairs for one in pair}

    def cut(self) -> None:
        """Ends every connection, wherever it is."""
        for pair in list(self._pairs):
            self._end(pair)

    def close(self) -> None:
        """Takes none any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> SocketProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
