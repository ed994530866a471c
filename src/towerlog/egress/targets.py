"""A URL that may be posted to: read once, strictly, into the parts that are connected to and sent."""

from __future__ import annotations

import re

import msgspec

from towerlog.egress.hosts import Address, BadHost, read_host

MAX_URL_CHARS = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
LOW_PORTS = frozenset(DEFAULT_PORTS.values())
"""The ports below 1024 that may be posted to: the others are those of services that do not speak HTTP."""
BLOCKED_PORTS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566}
    | {6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)
"""Ports from 1024 on of services that can be made to read HTTP as commands: those that the Fetch Standard blocks."""

_SHAPE = re.compile(r"(https?)://([^/?]*)(.*)", re.ASCII | re.IGNORECASE)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~!$&'()*+,;=:@/?-"
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
"""A percent sign that begins no escape of a URL."""


class BadTarget(ValueError):
    """A URL that is not posted to, in words that may be shown to whoever gave it."""


class Target(msgspec.Struct, frozen=True):
    """The parts of a URL. No other reader of URLs has a part in a request."""

    scheme: str
    """`http` or `https`."""
    host: Address | str
    """An address, or a name in lower case."""
    port: int
    path: str
    """With the query; begins with a slash."""

    @property
    def name(self) -> str:
        """The host as it is asked for and as its certificate is checked: no brackets."""
        return str(self.host)

    @property
    def authority(self) -> str:
        """The value of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.name else self.name
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def read_url(url: str) -> Target:
    """The parts of `http(s)://host[:port][/path][?query]`. Raises BadTarget for every other text.

    Refused are user and password, fragments, characters that RFC 3986 does not allow in a URL, hosts in another than
    their usual spelling (`hosts.read_host`), ports below 1024 but 80 and 443, and BLOCKED_PORTS.
    """
    if len(url) > MAX_URL_CHARS:
        raise BadTarget(f"the URL has more than {MAX_URL_CHARS} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise BadTarget("the URL has spaces, backslashes or control characters")
    if "#" in url:
        raise BadTarget("the URL has a fragment: leave out what begins with #")
    shape = _SHAPE.fullmatch(url)
    if shape is None:
        raise BadTarget("the URL does not begin with https:// or http://")
    scheme, authority, path = shape[1].lower(), shape[2], shape[3]
    if not _is_path(path):
        raise BadTarget("the URL's path or query has a character that must be percent-encoded")
    host, port = _parted(authority)
    return Target(scheme, _host(host), _port(port, scheme), path if path.startswith("/") else f"/{path}")


def _is_path(text: str) -> bool:
    """Whether it has the characters of a path and a query alone. Of these a page of rules has megabytes."""
    if not text.isascii():
        return False
    other = text.encode().translate(None, _PLAIN)
    return not other or (not other.strip(b"%") and BAD_ESCAPE.search(text) is None)


def _parted(authority: str) -> tuple[str, str | None]:
    """Host and port as they are written."""
    if "@" in authority:
        raise BadTarget("the URL has a user or password before its host")
    if "%" in authority and not authority.startswith("["):
        raise BadTarget("the URL's host is percent-encoded")
    head, bracket, tail = authority.rpartition("]")
    host, colon, port = tail.partition(":")
    return head + bracket + host, port if colon else None


def _host(text: str) -> Address | str:
    try:
        return read_host(text)
    except BadHost as error:
        raise BadTarget(f"the URL is not accepted: {error}") from None


def _port(text: str | None, scheme: str) -> int:
    if text is None:
        return DEFAULT_PORTS[scheme]
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise BadTarget("the URL's port is no number from 1 to 65535")
    port = int(text)
    if port in BLOCKED_PORTS or (port < 1024 and port not in LOW_PORTS):
        raise BadTarget(f"the URL's port {port} is that of a service that does not speak HTTP")
    return port
