"""What stands between a server and its clients: a real nginx, and a wire that breaks once.

Of nginx nothing is set that has to do with streams: its defaults, as most people have it.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.clients.tools import program
from tests.support.ports import HeldPort
from tests.support.server import wait_for_exit
from tests.support.wait import wait_until

CONFIG = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
  }}
}}
"""


@contextmanager
def nginx_before(upstream: int, folder: Path) -> Iterator[str]:
    """The address of a proxy of a local port. It speaks HTTP/1.0 to it, as nginx does unless told otherwise."""
    folder.mkdir()
    held = HeldPort()
    config = CONFIG.format(folder=folder, upstream=upstream, port=held.number)
    (folder / "nginx.conf").write_text(config)
    command = [program("nginx"), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: (folder / "pid").exists() or process.poll() is not None, "nginx")
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        yield held.url
    finally:
        process.terminate()
        assert wait_for_exit(process, 30)
        if process.stderr:
            process.stderr.close()
        held.close()


@contextmanager
def wire_that_breaks(upstream: int, mark: bytes) -> Iterator[str]:
    """The address of a wire to a local port whose first connection breaks as soon as it has carried the mark back."""
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def accept() -> None:
        last = mark
        with suppress(OSError):  # the test is over
            while True:
                client = listener.accept()[0]
                there = socket.create_connection(("127.0.0.1", upstream))
                ends.extend((client, there))
                for way in ((client, there, b""), (there, client, last)):
                    threads.append(threading.Thread(target=_carry, args=way))
                    threads[-1].start()
                last = b""

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        threads[0].join(30)
        for each in ends:
            _end(each)
        for thread in threads:
            thread.join(30)
        for each in (listener, *ends):
            each.close()


def _carry(source: socket.socket, target: socket.socket, mark: bytes) -> None:
    """Carries bytes until one side ends, or up to a mark, and then ends both."""
    carried = b""
    with suppress(OSError):  # the other thread has ended both
        while piece := source.recv(65536):
            carried = carried + piece if mark else b""
            if mark and mark in carried:
                target.sendall(piece[: len(piece) - len(carried) + carried.index(mark) + len(mark)])
                break
            target.sendall(piece)
    _end(source)
    _end(target)


def _end(one: socket.socket) -> None:
    with suppress(OSError):  # it has ended by itself
        one.shutdown(socket.SHUT_RDWR)
