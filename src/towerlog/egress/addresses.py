"""Which addresses may be connected to: a table of those that are forbidden, and what the operator lets through.

IPv4 is open but for the table. IPv6 is closed but for global unicast (2000::/3, RFC 4291), and less its own table: what
is assigned later stays out until somebody looks at it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

import msgspec

from towerlog.egress.hosts import Address, BadHost, read_host

Network = IPv4Network | IPv6Network

MAX_ALLOWED = 256
"""Entries in TOWERLOG_EGRESS_ALLOW."""

FORBIDDEN_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), words)
    for network, words in (
        ("0.0.0.0/32", "unspecified (RFC 1122)"),
        ("0.0.0.0/8", "of this network (RFC 791)"),
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("100.100.100.200/32", "a cloud's metadata service (Alibaba Cloud)"),
        ("100.64.0.0/10", "shared by carriers (RFC 6598)"),
        ("127.0.0.0/8", "loopback (RFC 1122)"),
        # In public space, and on a virtual machine of that cloud a way to the agent of its host.
        ("168.63.129.16/32", "a cloud's metadata service (Azure)"),
        ("169.254.169.254/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local (RFC 3927)"),
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.0.0.0/24", "for protocols (RFC 6890)"),
        ("192.0.2.0/24", "for documentation (RFC 5737)"),
        ("192.31.196.0/24", "a sink of the name system (RFC 7535)"),
        ("192.52.193.0/24", "a relay (RFC 7450)"),
        ("192.88.99.0/24", "a 6to4 relay (RFC 7526)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("192.175.48.0/24", "a sink of the name system (RFC 7534)"),
        ("198.18.0.0/15", "for benchmarks (RFC 2544)"),
        ("198.51.100.0/24", "for documentation (RFC 5737)"),
        ("203.0.113.0/24", "for documentation (RFC 5737)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("255.255.255.255/32", "broadcast (RFC 919)"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),
    )
)
"""(network, what it is): the first that holds an address says what it is."""

FORBIDDEN_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), words)
    for network, words in (
        ("::/128", "unspecified (RFC 4291)"),
        ("::1/128", "loopback (RFC 4291)"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 (RFC 4291)"),
        ("::ffff:0:0:0/96", "an IPv4 address in IPv6 (RFC 2765)"),
        ("::/96", "an IPv4 address in IPv6 (RFC 4291, IPv4-compatible)"),
        ("64:ff9b::/96", "an IPv4 address in IPv6 (RFC 6052, NAT64)"),
        ("64:ff9b:1::/48", "an IPv4 address in IPv6 (RFC 8215, NAT64)"),
        ("100::/64", "a sink (RFC 6666)"),
        ("100:0:0:1::/64", "a sink (RFC 9780)"),
        ("2001::/32", "an IPv4 address in IPv6 (RFC 4380, Teredo)"),
        ("2001:2::/48", "for benchmarks (RFC 5180)"),
        ("2001::/23", "for protocols (RFC 2928)"),
        ("2001:db8::/32", "for documentation (RFC 3849)"),
        ("2002::/16", "an IPv4 address in IPv6 (RFC 3056, 6to4)"),
        ("2620:4f:8000::/48", "a sink of the name system (RFC 7534)"),
        ("3ffe::/16", "given back (RFC 3701)"),
        ("3fff::/20", "for documentation (RFC 9637)"),
        ("5f00::/16", "for segment routing (RFC 9602)"),
        ("fc00::/7", "private (RFC 4193, unique local)"),
        ("fe80::/10", "link-local (RFC 4291)"),
        ("fec0::/10", "private (RFC 3879, site-local)"),
        ("ff00::/8", "multicast (RFC 4291)"),
    )
)
GLOBAL_UNICAST = IPv6Network("2000::/3")


def why_forbidden(address: Address) -> str | None:
    """What a forbidden address is, with its source; None for one that may be connected to."""
    if isinstance(address, IPv4Address):
        return next((words for network, words in FORBIDDEN_V4 if address in network), None)
    found = next((words for network, words in FORBIDDEN_V6 if address in network), None)
    return found or (None if address in GLOBAL_UNICAST else "not assigned to anybody (RFC 4291)")


_NETWORK = re.compile(r"[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?", re.ASCII)


class Allowed(msgspec.Struct, frozen=True):
    """What the operator lets through: names of hosts, whatever their addresses, and networks, whatever their names."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def has(self, address: Address) -> bool:
        """Whether one of the networks holds the address."""
        return any(address in network for network in self.networks if network.version == address.version)


def parse_allowed(text: str) -> Allowed:
    """The value of TOWERLOG_EGRESS_ALLOW. Raises ValueError naming the first entry that is neither name nor network."""
    entries = [entry for entry in (part.strip() for part in text.split(",")) if entry]
    if len(entries) > MAX_ALLOWED:
        raise ValueError(f"has {len(entries)} entries; the limit is {MAX_ALLOWED}")
    found = [_entry(entry) for entry in entries]
    names = frozenset(one for one in found if isinstance(one, str))
    return Allowed(names, tuple(one for one in found if not isinstance(one, str)))


def _entry(text: str) -> Network | str:
    """A network, of one address where no prefix is given, or a name."""
    bare = text.removeprefix("[").removesuffix("]")
    network = _network(bare)
    if network is not None:
        if ip_address(bare.partition("/")[0]) != network.network_address:
            raise ValueError(f"{text!r} is an address inside of a network: write {network}")
        return network
    try:
        host = read_host(text)
    except BadHost as error:
        words = "is neither a host name nor a network; write them as hooks.example.com or 10.1.0.0/16"
        raise ValueError(f"{text!r} {words}: {error}") from None
    assert isinstance(host, str), "an address is a network"
    return host


def _network(text: str) -> Network | None:
    """Without zones and masks, which Python would take as well."""
    if not _NETWORK.fullmatch(text):
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
