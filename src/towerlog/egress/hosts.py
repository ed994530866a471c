"""How a host may be written: one spelling for each name and each address, whether a URL or a setting has it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

MAX_HOST_CHARS = 253
"""Of a name without its trailing dot (RFC 1035, section 2.3.4)."""

LOCAL_DOMAINS = frozenset(
    {
        *("localhost", "test", "invalid", "example"),  # RFC 6761
        "local",  # RFC 6762: asked for by multicast
        *("intranet", "internal", "private", "corp", "home", "lan"),  # RFC 6762, appendix G: in use inside of networks
        "home.arpa",  # RFC 8375
        "onion",  # RFC 7686
        "alt",  # RFC 9476
    }
)
"""Domains without a meaning in the public name system: to ask for a name below one only asks the own network."""

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class BadHost(ValueError):
    """A host in a spelling that is not accepted; the message says why, and names nothing but the text it was given."""


def read_host(text: str) -> Address | str:
    """The address, or the name in lower case, that a text names in its one accepted spelling.

    Accepted are names of letters, digits and hyphens (`xn--…` for others), IPv4 as four decimal numbers, and IPv6 in
    brackets. Raises BadHost for all else: what two readers could take for different hosts names none.
    """
    if not text.isascii():
        raise BadHost("the host has characters outside of ASCII: write the name in its xn-- form")
    name = text.lower()
    if name.startswith("["):
        return _bracketed(name)
    labels = name.split(".")
    # As the URL Standard has it: whatever ends in a number is an address, and here only of the usual form.
    if _NUMBER.fullmatch(labels[-1]) or (len(labels) > 1 and not labels[-1] and _NUMBER.fullmatch(labels[-2])):
        return _dotted(name)
    if not name:
        raise BadHost("the host is missing")
    if name.endswith("."):
        raise BadHost("the host ends in a dot: leave it out")
    if len(name) > MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadHost("the host is no name: letters, digits and hyphens, in parts of 1 to 63 between dots")
    return name


def _bracketed(name: str) -> IPv6Address:
    if "%" in name:
        raise BadHost("the host is an IPv6 address with a zone: leave the zone out")
    try:
        return IPv6Address(name.removeprefix("[").removesuffix("]") if name.endswith("]") else "")
    except ValueError:
        raise BadHost("the host is no IPv6 address in brackets") from None


def _dotted(name: str) -> IPv4Address:
    try:
        return IPv4Address(name)
    except ValueError:
        words = "the host is no IPv4 address in its usual form: four decimal numbers without leading zeros"
        raise BadHost(words) from None


def is_local_name(name: str) -> bool:
    """Whether a name in lower case means something in the own network only: of one part, or of `LOCAL_DOMAINS`."""
    parts = name.split(".")
    return len(parts) == 1 or any(".".join(parts[at:]) in LOCAL_DOMAINS for at in range(1, len(parts)))
