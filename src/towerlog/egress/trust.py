"""Which certificates are trusted: those of the machine, read once, beside the event loop, when TLS is first needed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable


def what_of_tls(cause: BaseException | None, whose: str) -> str | None:
    """What is wrong with a certificate, in one line; None where it is something else.

    Of what the other side sends only the reasons that OpenSSL knows by itself.
    """
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"{whose} certificate is not accepted: {cause.verify_message}"
    return None


class Trust:
    """One context of TLS for all connections of one protocol, whose name it carries (ALPN); they share nothing else."""

    def __init__(self, make: Callable[[], ssl.SSLContext] = ssl.create_default_context) -> None:
        """`make` checks certificates and host names; it is called in a thread, since it may read for 0.2 s."""
        self._make = make
        self._making: asyncio.Task[ssl.SSLContext] | None = None

    async def context(self) -> ssl.SSLContext:
        """The context. Raises what `make` raises; the next call then tries again."""
        if self._making is None or (self._making.done() and self._making.exception() is not None):
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        # Whoever gives up waits no longer, and the others still do.
        return await asyncio.shield(self._making)
