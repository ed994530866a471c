"""What a server listens on, and the open files that those who connect to it need."""

from __future__ import annotations

import contextlib
import resource
import socket

_OWN = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""How the machine itself reaches what listens on all of its addresses."""


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address, before anything else is opened. Raises OSError when it is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4])
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def local_url(listener: socket.socket) -> str:
    """Where it is reached from this machine: by the address itself, since a name may have several."""
    host, port, *_ = listener.getsockname()
    host = _OWN.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def raise_descriptor_limit(wanted: int) -> None:
    """Raises the limit of open files to `wanted`, or as far as the machine allows; streams past that are refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
