"""The months that events are kept by, made when the first event of one comes."""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.store.postgres import connections
from towerlog.store.postgres.schema import Month, following, make_months, month_of


class Months:
    """Those that this process knows to be there."""

    def __init__(self, url: str) -> None:
        """None yet."""
        self._url = url
        self._known: set[Month] = set()

    async def ensure(self, times: Iterable[int]) -> None:
        """The months of these times (wall ms), and the ones after them: a month that begins finds its table made.

        Raises what the driver raises.
        """
        missing = {month_of(at) for at in times} - self._known
        if not missing:
            return
        # On a connection of its own: the tables are there for everybody whatever becomes of who has needed them first.
        wanted = missing | {following(month) for month in missing}
        connection = await connections.connect(self._url, connections.WRITING)
        try:
            await make_months(connection, wanted)
        finally:
            await connection.close()
        self._known |= missing
