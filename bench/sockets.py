"""Clients of live push that hold their connections: owns the handshake, the subscription and reading what comes.

Nothing that is pushed is looked at; a thread takes it off the sockets, as clients must, and counts its bytes.
"""

import base64
import json
import os
import selectors
import socket
import struct
import threading
from collections.abc import Sequence
from urllib.parse import urlencode

from bench.compiled import HOST
from bench.wire import Client, Refused

PATH = "/app/towerlog?protocol=7&client=bench&version=1"
FORM = "application/x-www-form-urlencoded"
TIMEOUT_SECONDS = 30
READ_BYTES = 1 << 18
LOOK_SECONDS = 0.2
CLOSE_BYTES = 128
SERVER_ENDS = struct.pack(">H", 4200)
"""The code that a server closes with when it stops."""


class PushSocket:
    """One connection that follows a channel."""

    def __init__(self, port: int, client: Client, channel: str) -> None:
        """`client` has the right to authorise the channel."""
        self.socket = socket.create_connection((HOST, port), TIMEOUT_SECONDS)
        self.pending = b""
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13"
        self.socket.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {HOST}:{port}\r\n{upgrade}\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.pending:
            self._more()
        head, _, self.pending = self.pending.partition(b"\r\n\r\n")
        if b" 101 " not in head.splitlines()[0]:
            raise Refused(f"{PATH} answered {head[:300]!r}")
        socket_id = json.loads(self._message()["data"])["socket_id"]
        form = urlencode({"socket_id": socket_id, "channel_name": channel}).encode()
        auth = client.post("/broadcasting/auth", form, FORM).json()["auth"]
        self._send({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth}})
        if (told := self._message()["event"]) != "pusher_internal:subscription_succeeded":
            raise Refused(f"{channel}: {told}")

    def _more(self) -> None:
        found = self.socket.recv(READ_BYTES)
        if not found:
            raise Refused("the server has closed a socket of live push")
        self.pending += found

    def _message(self) -> dict[str, str]:
        """The next message; those of the beginning are short, and each is one frame."""
        while len(self.pending) < 4:
            self._more()
        length, start = self.pending[1], 2
        if length == 126:
            length, start = struct.unpack(">H", self.pending[2:4])[0], 4
        while len(self.pending) < start + length:
            self._more()
        text, self.pending = self.pending[start : start + length], self.pending[start + length :]
        found: dict[str, str] = json.loads(text)
        return found

    def _send(self, message: object) -> None:
        text = json.dumps(message).encode()
        # Masked with zeros: a mask is required, and what it is does not matter.
        self.socket.sendall(bytes([0x81, 0xFE]) + struct.pack(">H", len(text)) + bytes(4) + text)


class Crowd:
    """Sockets that are read until the end of the block."""

    def __init__(self, port: int, client: Client, channels: Sequence[str]) -> None:
        """One for each channel; a channel may be there several times."""
        self.sockets = [PushSocket(port, client, channel).socket for channel in channels]
        self.read_bytes = 0
        self.cut_off = 0
        """Sockets that were closed for another reason than the server's end."""
        self._done = threading.Event()
        self._reader = threading.Thread(target=self._read, name="push sockets")

    def __enter__(self) -> "Crowd":
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._reader.join()
        for one in self.sockets:
            one.close()

    def _read(self) -> None:
        buffer, last = bytearray(READ_BYTES), dict.fromkeys(self.sockets, b"")
        with selectors.DefaultSelector() as waiting:
            for one in self.sockets:
                waiting.register(one, selectors.EVENT_READ)
            while not self._done.is_set():
                for key, _ in waiting.select(LOOK_SECONDS):
                    one = key.fileobj
                    assert isinstance(one, socket.socket)
                    found = one.recv_into(buffer)
                    self.read_bytes += found
                    if found:
                        last[one] = bytes(buffer[max(0, found - CLOSE_BYTES) : found])
                    else:
                        self.cut_off += SERVER_ENDS not in last[one]
                        waiting.unregister(one)
