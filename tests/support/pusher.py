"""A client of the Pusher Channels protocol over a raw socket: nothing of it is hidden, so that anything can be sent."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
from typing import Any

import httpx2

DEADLINE_S = 60.0
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CONT, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
FIN = 0x80


def frame(opcode: int, payload: bytes = b"", *, first: int = FIN, masked: bool = True) -> bytes:
    """One frame of a client; `first` are the bits of its first byte beside the opcode."""
    size = len(payload)
    mask = os.urandom(4) if masked else b""
    bit = FIN if masked else 0
    if size < 126:
        length = bytes([bit | size])
    elif size < 1 << 16:
        length = bytes([bit | 126]) + struct.pack(">H", size)
    else:
        length = bytes([bit | 127]) + struct.pack(">Q", size)
    data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if masked else payload
    return bytes([first | opcode]) + length + mask + data


class PusherClient:
    """One connection. Messages are read in their order; `closed` has the code and the reason of the server's end."""

    def __init__(
        self, base_url: str, path: str = "/app/towerlog?protocol=7&client=test&version=1&flash=false", source: str = ""
    ) -> None:
        """`source`: the address to come from, of this machine; empty for any."""
        host, _, port = base_url.removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)), DEADLINE_S, (source, 0) if source else None)
        self.host = f"{host}:{port}"
        self.path = path
        self.read_bytes = b""
        self.closed: tuple[int, str] | None = None
        self.pongs: list[bytes] = []
        self.socket_id = ""

    def __enter__(self) -> PusherClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def shake_hands(self, **headers: str | None) -> tuple[int, dict[str, str]]:
        """Asks to switch; the status and the headers of the reply. A header that is None is left out."""
        key = base64.b64encode(os.urandom(16)).decode()
        given: dict[str, str | None] = {
            "Host": self.host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
        }
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
        self.socket.sendall("\r\n".join([f"GET {self.path} HTTP/1.1", *lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.read_bytes:
            self._more()
        head, _, self.read_bytes = self.read_bytes.partition(b"\r\n\r\n")
        status, *found = head.decode().split("\r\n")
        replied = {name.lower(): value for name, _, value in (line.partition(": ") for line in found)}
        if (code := int(status.split()[1])) == 101:
            expected = base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()
            assert replied["sec-websocket-accept"] == expected
        return code, replied

    def connect(self) -> PusherClient:
        """Connects, and reads what it is told first."""
        status, _ = self.shake_hands()
        assert status == 101
        first = self.message()
        assert first["event"] == "pusher:connection_established"
        self.socket_id = first["data"]["socket_id"]
        return self

    def send(self, *frames: bytes) -> None:
        """Frames as they are."""
        self.socket.sendall(b"".join(frames))

    def say(self, event: str, **members: Any) -> None:
        """One message."""
        self.send(frame(TEXT, json.dumps({"event": event, **members}).encode()))

    def subscribe(self, client: httpx2.Client, channel: str) -> dict[str, Any]:
        """Has a channel authorised by the key of `client` and subscribes to it; the answer."""
        form = {"socket_id": self.socket_id, "channel_name": channel}
        reply = client.post("/broadcasting/auth", data=form)
        assert reply.status_code == 200, reply.text
        self.say("pusher:subscribe", data={"channel": channel, "auth": reply.json()["auth"]})
        return self.message()

    def message(self) -> dict[str, Any]:
        """The next message, with its data decoded."""
        opcode, payload = self.frame()
        assert opcode == TEXT, (opcode, payload)
        found: dict[str, Any] = json.loads(payload)
        assert isinstance(found["data"], str), "data is a JSON string in every frame"
        return {**found, "data": json.loads(found["data"])}

    def events(self, count: int) -> list[dict[str, Any]]:
        """The next so many events, which must be nothing else."""
        found = [self.message() for _ in range(count)]
        assert {one["event"] for one in found} <= {"agent.event"}, found
        return [one["data"] for one in found]

    def end(self) -> tuple[int, str, list[dict[str, Any]]]:
        """Reads until the server has ended it: the code and the reason of its close frame, and what it said before."""
        said: list[dict[str, Any]] = []
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                [code] = struct.unpack(">H", payload[:2])
                while self._read():
                    pass
                return code, payload[2:].decode(), said
            if opcode == TEXT:
                found = json.loads(payload)
                said.append({**found, "data": json.loads(found["data"])})

    def frame(self) -> tuple[int, bytes]:
        """The next frame of the server: opcode and payload."""
        first, second = self._take(2)
        assert first & FIN, "the server does not fragment"
        assert not first & 0x70, "no extension was agreed on"
        assert not second & FIN, "a server does not mask"
        size = second
        if size == 126:
            [size] = struct.unpack(">H", self._take(2))
        elif size == 127:
            [size] = struct.unpack(">Q", self._take(8))
        return first & 0xF, self._take(size)

    def _take(self, count: int) -> bytes:
        while len(self.read_bytes) < count:
            self._more()
        taken, self.read_bytes = self.read_bytes[:count], self.read_bytes[count:]
        return taken

    def _more(self) -> None:
        data = self._read()
        assert data, f"the connection has ended; left: {self.read_bytes!r}"
        self.read_bytes += data

    def _read(self) -> bytes:
        return self.socket.recv(1 << 16)
