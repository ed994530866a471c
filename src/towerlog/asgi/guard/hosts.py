"""Which host names a request may name. On loopback only local ones, so that no web page gets here by its own name.

(A page on `evil.example` whose name is made to point to 127.0.0.1 would otherwise speak to this server as its own.)
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.addresses import canonical
from towerlog.errors import Malformed

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Hosts:
    """The allow-list of host names."""

    def __init__(self, names: Iterable[str]) -> None:
        """No names: any host is let in."""
        self.names = frozenset(name.strip().lower().encode("ascii") for name in names if name.strip())
        """Lower-case, without a port: what is in here is let in."""

    def check(self, host: bytes | None) -> None:
        """Raises Rejection (421) when this server does not answer to the name."""
        if not self.names or host is None or host in self.names:
            return
        name, colon, port = host.lower().rpartition(b":")
        if (name if colon and port.isdigit() else host.lower()) not in self.names:
            raise Rejection(421, Malformed("This server does not answer to that host name."))


def hosts_of(bound: str, public_url: str, allowed_hosts: str) -> Hosts:
    """The allow-list that the settings ask for. Looks `bound` up, which may be any spelling of an address."""
    if allowed_hosts.strip():
        return Hosts(allowed_hosts.split(","))
    if not _is_loopback(bound):
        return Hosts(())
    public = urlsplit(public_url).hostname or ""
    return Hosts((*LOCAL_NAMES, f"[{bound}]" if ":" in bound else bound, public))


def _is_loopback(bound: str) -> bool:
    """Whether nobody but this machine reaches what is bound to it: `127.1`, `::ffff:127.0.0.1`, `localhost` …"""
    try:
        found = socket.getaddrinfo(bound, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    addresses = [canonical(str(one[4][0])) for one in found]
    return all(address is not None and address.is_loopback for address in addresses)
