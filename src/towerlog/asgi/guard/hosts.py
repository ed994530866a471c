"""Which host names a request may name. On loopback only local ones, so that no web page gets here by its own name.

(A page on `evil.example` whose name is made to point to 127.0.0.1 would otherwise speak to this server as its own.)
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from towerlog.asgi.faults import Rejection
from towerlog.errors import Malformed

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


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
    """The allow-list that the settings ask for."""
    if allowed_hosts.strip():
        return Hosts(allowed_hosts.split(","))
    if bound not in _LOOPBACK:
        return Hosts(())
    public = urlsplit(public_url).hostname or ""
    return Hosts((*LOCAL_NAMES, public))
