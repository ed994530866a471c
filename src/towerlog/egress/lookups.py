"""Names to addresses, beside the event loop: a thread for each look-up, so many at a time, each with a deadline.

The system's resolver cannot be interrupted. A look-up that is given up keeps its thread, and its place among those that
are counted, until the resolver returns; the threads are daemons, so none of them holds up the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from towerlog.egress.hosts import Address
from towerlog.egress.outcomes import EgressError, EgressFailure
from towerlog.egress.places import OrgPlaces

MAX_LOOKUPS = 32
"""At a time, of the process."""
MAX_LOOKUPS_PER_ORG = 4
"""At a time, of one organisation: names that are answered slowly hold up nobody else's."""
LOOKUP_SECONDS = 5.0
"""From the wish to look a name up to its addresses, the wait for a place included."""

Resolve = Callable[[str, int], Sequence[str]]
"""(name, port) → addresses as text, best first. Called in a thread, may block. Raises OSError where there are none."""
_Found = Sequence[str] | Exception


def resolve_by_system(name: str, port: int) -> Sequence[str]:
    """What the machine's resolver says."""
    return [str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]


class Lookups:
    """All look-ups of a process; its methods belong to the thread of its event loop."""

    def __init__(self, resolve: Resolve = resolve_by_system) -> None:
        """`resolve` does the work, in a thread."""
        self._resolve = resolve
        self._places = OrgPlaces(MAX_LOOKUPS, MAX_LOOKUPS_PER_ORG)

    async def find(self, name: str, port: int, org_id: str) -> tuple[Address, ...]:
        """All addresses of a name, looked up on behalf of an organisation: each once, in the resolver's order.

        Raises EgressError where there is none, or none in time. Nothing is remembered: who asks again, looks up again.
        """
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                await self._places.take(org_id)
                found = await self._look(name, port, lambda: self._places.give_back(org_id))
        except TimeoutError:
            raise EgressError(EgressFailure.NOT_FOUND, "the host's name was not looked up in time") from None
        except OSError:
            found = ()
        if not found:
            raise EgressError(EgressFailure.NOT_FOUND, "the host's name has no address")
        return tuple(dict.fromkeys(ip_address(text.partition("%")[0]) for text in found))

    def _look(self, name: str, port: int, when_ended: Callable[[], None]) -> asyncio.Future[Sequence[str]]:
        """Begins one look-up; `when_ended` is called once its thread is done, whoever still waits for it."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()

        def settle(found: _Found) -> None:
            when_ended()
            if answer.done():
                return
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look() -> None:
            found = _asked(self._resolve, name, port)
            # A loop that was closed meanwhile refuses the call; nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, found)

        try:
            threading.Thread(target=look, name="towerlog-lookup", daemon=True).start()
        except RuntimeError as error:
            # The machine gives no more threads.
            settle(error)
        return answer


def _asked(resolve: Resolve, name: str, port: int) -> _Found:
    """In the thread: what it says, or raises."""
    try:
        return resolve(name, port)
    except Exception as error:
        return error
