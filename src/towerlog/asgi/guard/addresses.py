"""Where a request comes from: the peer of the socket, or what a trusted proxy says of it.

`X-Forwarded-For` is read from the right, and only past proxies that are trusted: whatever a stranger wrote into it
himself stands further left and is never reached.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable

from towerlog.asgi.replies import Message

IPV6_PREFIX = 64
"""One IPv6 customer has a whole /64: counted as one."""
UNKNOWN = "unknown"
MAX_ADDRESS_CHARS = 64
"""The longest form of an address, with a zone of as many characters as the name of an interface has at most. What is
longer is none: a proxy hands on what strangers write, and whatever is known by its address is known by this text."""
MAX_KNOWN_ADDRESSES = 4096
"""Texts of addresses that are remembered."""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Addresses:
    """Reads addresses of requests."""

    def __init__(self, trusted_proxies: str = "") -> None:
        """`trusted_proxies`: addresses or networks, comma-separated. Raises ValueError for anything else."""
        names = (name.strip() for name in trusted_proxies.split(","))
        self._trusted = tuple(ipaddress.ip_network(name, strict=False) for name in names if name)

    def of(self, scope: Message) -> str:
        """The address of the right-most hop that is no trusted proxy; `unknown` where there is none."""
        return self._trace(scope)[0]

    def is_local(self, scope: Message) -> bool:
        """Whether the request certainly comes from this machine, and not through a proxy that nobody told us of.

        A proxy that does not say for whom it asks, or not readably, may ask for anybody.
        """
        text, is_certain = self._trace(scope)
        address = canonical(text)
        if not is_certain or address is None or not address.is_loopback:
            return False
        return bool(self._trusted) or not any(name in _PROXY_HEADERS for name, _ in scope["headers"])

    def _trace(self, scope: Message) -> tuple[str, bool]:
        """The address, and whether it is certainly the one where the request began."""
        client = scope.get("client")
        address = str(client[0]) if client else UNKNOWN
        if not self._trusted or not self.is_trusted(address):
            return address, True
        is_certain = False
        for hop in reversed(forwarded_for(scope["headers"])):
            if canonical(hop) is None:
                return address, False
            address, is_certain = hop, True
            if not self.is_trusted(hop):
                break
        return address, is_certain

    def is_trusted(self, text: str) -> bool:
        """Whether this is the address of a proxy that is trusted."""
        address = canonical(text)
        return address is not None and any(_holds(network, address) for network in self._trusted)


_PROXY_HEADERS = frozenset({b"x-forwarded-for", b"forwarded", b"x-real-ip"})


def forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """All hops of all `X-Forwarded-For` headers, from left to right, without the ports that some proxies write."""
    values = (value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for")
    return [_without_port(hop.strip()) for value in values for hop in value.split(",")]


def _without_port(hop: str) -> str:
    """`192.0.2.1:1234`, `[2001:db8::1]:1234` and `[2001:db8::1]` as addresses; anything else as it is."""
    if hop.startswith("["):
        address, bracket, rest = hop[1:].partition("]")
        return address if bracket and (not rest or _is_port(rest)) else hop
    address, colon, port = hop.partition(":")
    return address if colon and _is_port(f":{port}") else hop


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdigit()


def canonical(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of a text, an IPv4 one also where it came wrapped in IPv6; None when it is none."""
    return _read(text) if len(text) <= MAX_ADDRESS_CHARS else None


@functools.lru_cache(maxsize=MAX_KNOWN_ADDRESSES)
def _read(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@functools.lru_cache(maxsize=MAX_KNOWN_ADDRESSES)
def counted_as(text: str) -> str:
    """Under which name an address of `Addresses.of` is counted: itself, or the /64 that it is in."""
    address = canonical(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return text if address is None else str(address)


def _holds(network: _Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return network.version == address.version and address in network
