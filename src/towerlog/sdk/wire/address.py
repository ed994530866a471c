"""The address of a server, and the limits and headers of requests to it, for blocking and asyncio clients."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from towerlog.sdk.wire.errors import BadAnswer

LOCAL_URL = "http://127.0.0.1:8700"
MAX_EVENT_BYTES = 4 * 1024 * 1024
"""The largest event that a server takes unless its operator says otherwise."""
MAX_RESPONSE_BYTES = MAX_LINE_BYTES = 3 * MAX_EVENT_BYTES + 2 * 1024 * 1024
"""Largest body of a reply, and longest line and largest frame of a stream. A page of events goes on until it has 4 MiB,
of which most may be repeated under another name, and the event that passes it has up to 4 MiB; a frame escapes what is
not ASCII, which makes three bytes of one. The rest is for what stands around them, and what of a frame is repeated."""
MAX_HISTORY_BYTES = 256 * 1024 * 1024
"""Largest body of the few replies that bring the whole history of a conversation: a claim, a checkpoint."""
TIMEOUT_S = 30.0
"""How long a request and its reply may take, unless the caller says otherwise."""
SILENCE_S = 45.0
"""How long nothing may arrive on a stream: the server pings every 15 seconds."""
MAX_IDLE = 8
"""Idle connections that are kept."""
MAX_RETRY_AFTER_S = 300.0
"""The longest `Retry-After` that is accepted; longer ones are shortened to it."""


@dataclass(frozen=True)
class Address:
    """The parts of a server's URL."""

    secure: bool
    host: str
    port: int
    prefix: str
    """The prefix of every path, if the server is not at the root of its host."""

    @property
    def host_header(self) -> str:
        """The `Host` of a request."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.secure else 80
        return host if self.port == usual else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host_header}{self.prefix}"


@dataclass(frozen=True)
class Response:
    """A whole reply. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def retry_after_s(self) -> float | None:
        """`Retry-After` in seconds, given as seconds or as an HTTP date, capped."""
        return read_retry_after(self.headers.get("retry-after"))


class MovingUrl:
    """The URL of a server that may come to listen elsewhere. It is looked for before each new connection, so that a key
    goes to that server and to nobody who listens where it was."""

    def __init__(self, name: str, find: Callable[[], str]) -> None:
        """`name` is the same wherever the server listens. `find` raises Unreachable or OSError where it does not, and
        so does this."""
        self.name = name
        self._find = find
        self.last = find()
        """Where it was found last."""

    def __str__(self) -> str:
        return self.last

    def now(self) -> str:
        """Looks where it listens now. Raises what `find` raises."""
        self.last = self._find()
        return self.last


Url = str | MovingUrl


def server_of(url: Url | None, api_key: str | None) -> tuple[Url, str | None]:
    """URL and key: as given, else TOWERLOG_URL and TOWERLOG_API_KEY, else the default port of this machine."""
    return (
        url or os.environ.get("TOWERLOG_URL") or LOCAL_URL,
        api_key if api_key is not None else os.environ.get("TOWERLOG_API_KEY") or None,
    )


def read_url(url: str) -> Address:
    """The parts of an `http` or `https` URL. Raises ValueError with a text that reveals no secret."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the server's URL must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the server's URL must not hold a user or a password")
    if parts.query or parts.fragment:
        raise ValueError("the server's URL must not have a query or a fragment")
    secure = parts.scheme == "https"
    # Reading an invalid port raises ValueError; its text names only the port.
    port = parts.port or (443 if secure else 80)
    return Address(secure, parts.hostname, port, parts.path.rstrip("/"))


def checked_key(api_key: str | None) -> str | None:
    """The key, if it can be the value of a header. Raises ValueError with a text that does not contain it."""
    if api_key is None:
        return None
    key = api_key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("the API key must be printable ASCII without spaces")
    return key


def request_headers(address: Address, api_key: str | None, own: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of a request except its length; `own` overrides."""
    headers = {"Host": address.host_header, "Accept-Encoding": "identity", "User-Agent": "towerlog-sdk"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    headers.update(own or {})
    for name, value in headers.items():
        if not (name + value).isprintable() or not (name + value).isascii():
            raise ValueError(f"the header {name!r} must be printable ASCII")
    return headers


def checked_path(address: Address, path: str) -> str:
    """The request target of a path. Raises ValueError if it cannot be sent unchanged."""
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"{path!r} is not a path: it must begin with a slash and be percent-encoded")
    return address.prefix + path


def refuse_redirect(status: int) -> None:
    """Raises BadAnswer for a redirect: the key must only be sent to the configured server."""
    if 300 <= status < 400 and status != 304:
        raise BadAnswer(f"the server answered with a redirect ({status}), which is not followed")


def read_retry_after(text: str | None) -> float | None:
    """Seconds, from seconds or an HTTP date; None for anything else."""
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            # The parser of dates was written for mail: what it makes of other text is not only a ValueError.
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def tls_context(address: Address) -> ssl.SSLContext | None:
    """A context that checks certificates as the system does; None for plain HTTP."""
    return ssl.create_default_context() if address.secure else None


class Lines:
    """Splits the bytes of a stream into lines without their ends. The length of a line is bounded."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes. Raises BadAnswer for a line that is too long."""
        # Only the new chunk can contain a line end: the rest was searched before.
        if b"\n" not in chunk:
            self._rest += chunk
            self._check()
            return []
        first, *others = chunk.split(b"\n")
        whole = [bytes(self._rest) + first, *others[:-1]]
        self._rest = bytearray(others[-1])
        return [line.removesuffix(b"\r") for line in whole]

    def _check(self) -> None:
        if len(self._rest) > MAX_LINE_BYTES:
            raise BadAnswer("a line of the stream is too long")
