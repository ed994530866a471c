"""Several nodes of one PostgreSQL: each a real server with a data folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from tests.support.figures import metric
from tests.support.postgres import Cluster, cluster
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until


class Nodes:
    """Servers of one database. Started all at once, on an empty one."""

    def __init__(
        self, folder: Path, count: int = 3, env: Mapping[str, str] | None = None, base: Cluster | None = None
    ) -> None:
        """`base`: the PostgreSQL, if not that of the test process."""
        self.base = base or cluster()
        self.database = self.base.lasting_name()
        self.base.create(self.database)
        self.url = self.base.url(self.database)
        self._folder = folder
        self._env = {"TOWERLOG_DATABASE_URL": self.url, **NO_LIMITS, **(env or {})}
        self.servers = [self.make(number) for number in range(count)]

    def make(self, number: int, **env: str) -> Server:
        """One more, not started."""
        return Server(self._folder / f"node{number}", {**self._env, **env})

    def start(self) -> Nodes:
        """All of them, at the same moment."""
        with ThreadPoolExecutor(len(self.servers)) as pool:
            for starting in [pool.submit(server.start) for server in self.servers]:
                starting.result()
        count = len(self.servers)
        wait_until(lambda: all(seen(server) == count for server in self.servers), "all nodes to know each other")
        return self

    def __enter__(self) -> Nodes:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all of them."""
        for server in self.servers:
            server.close()

    def clients(self, key: str | None = None) -> list[httpx2.Client]:
        """One for each node."""
        return [server.client() if key is None else server.client(key) for server in self.servers]

    def leader(self) -> Server:
        """The node that leads."""
        return wait_until(lambda: next((one for one in self.servers if leads(one)), None), "a node that leads")  # type: ignore[return-value]


def seen(server: Server) -> int:
    """How many nodes a node knows of."""
    return int(metric(server, "towerlog_nodes"))


def leads(server: Server) -> bool:
    """Whether a node leads; one that is not there does not."""
    if server.process is None:
        return False
    try:
        return metric(server, "towerlog_leads") == 1
    except httpx2.TransportError:
        return False
