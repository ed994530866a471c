"""Three nodes on one PostgreSQL while nodes, the database, the bus and connections fail under load."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.nodes_under_fault import Load
from tests.support.nats import NatsServer
from tests.support.nodes import Nodes, leads
from tests.support.postgres import Cluster
from tests.support.proxy import SocketProxy
from tests.support.server import Server
from tests.support.wait import wait_until

RECOVERY_S = 5.0
PATIENCE = 6
"""A busy machine may take so many times as long before the test fails."""
STANDSTILL_S = 7.0
"""Longer than the database waits for a unit of work, and than a lead lasts."""
KILLS, MIN_RECONNECTS = 32, 300


class Site:
    """Three nodes, each with a way of its own to the database, a bus, and load."""

    def __init__(self, nodes: Nodes, base: Cluster, proxies: list[SocketProxy], nats: NatsServer | None) -> None:
        self.nodes = nodes
        self.base = base
        self.proxies = proxies
        self.nats = nats
        self.chance = random.Random(11)
        self.load: Load

    def any_node(self) -> Server:
        """One of them."""
        return self.chance.choice(self.nodes.servers)


@pytest.fixture(params=["postgres", "nats"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as opened:
        base = Cluster()
        opened.callback(base.close)
        env: dict[str, str] = {}
        nats = opened.enter_context(NatsServer(tmp_path)) if request.param == "nats" else None
        if nats is not None:
            env["TOWERLOG_WAKE"] = nats.url
        nodes = Nodes(tmp_path, 0, env, base)
        opened.callback(nodes.close)
        proxies = []
        for number in range(3):
            folder = base.folder / f"way{number}"
            folder.mkdir()
            proxies.append(opened.enter_context(SocketProxy(folder, base.folder)))
            url = f"postgresql://towerlog@/{nodes.database}?host={folder}"
            nodes.servers.append(nodes.make(number, TOWERLOG_DATABASE_URL=url))
        nodes.start()
        yield Site(nodes, base, proxies, nats)


def kill_a_node(site: Site) -> None:
    """Without a word, and started again."""
    node = site.any_node()
    node.kill()
    node.start()


def kill_the_leader(site: Site) -> None:
    node = site.nodes.leader()
    node.kill()
    wait_until(lambda: any(leads(other) for other in site.nodes.servers), "another leader")
    node.start()


def stop_a_node_for_a_while(site: Site) -> None:
    pid = pid_of(site.any_node())
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(STANDSTILL_S)
    finally:
        os.kill(pid, signal.SIGCONT)


def pid_of(server: Server) -> int:
    assert server.process is not None
    return server.process.pid


def kill_the_database(site: Site) -> None:
    """As `pg_ctl stop -m immediate`."""
    site.base.stop(signal.SIGQUIT)
    site.base.start()


def kill_the_bus(site: Site) -> None:
    """Of NATS the server; with PostgreSQL the connections on which nodes listen."""
    if site.nats is not None:
        site.nats.stop()
        site.load.wait_for_more(RECOVERY_S * PATIENCE, "the end of the bus")
        site.nats.start()
    else:
        site.base.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'towerlog bus'")


def cut_the_connections(site: Site) -> None:
    """All of one node to the database, wherever they are."""
    site.chance.choice(site.proxies).cut()


FAULTS: list[Callable[[Site], None]] = [
    kill_a_node,
    kill_the_leader,
    stop_a_node_for_a_while,
    kill_the_database,
    kill_the_bus,
    cut_the_connections,
]


@pytest.mark.slow
def test_each_kind_of_fault_loses_nothing(site: Site) -> None:
    load = site.load = Load(site.nodes, 1).start()
    load.wait_for_more(60, "the start")
    for fault in FAULTS:
        fault(site)
        load.wait_for_more(RECOVERY_S * PATIENCE, fault.__name__)
    load.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3])
def test_many_faults_at_random_moments_lose_nothing(site: Site, seed: int) -> None:
    """So many kills of nodes, with the other faults between them."""
    load = site.load = Load(site.nodes, seed, runs=6, workers=3).start()
    chance = site.chance = random.Random(seed)
    kills = 0
    while kills < KILLS:
        fault = chance.choice([kill_a_node, kill_a_node, kill_the_leader, *FAULTS[2:]])
        kills += fault in (kill_a_node, kill_the_leader, kill_the_database)
        fault(site)
        load.wait_for_more(RECOVERY_S * PATIENCE, fault.__name__)
        time.sleep(chance.random() * 0.5)
    wait_until(lambda: load.reconnects >= MIN_RECONNECTS, "so many reconnects of followers")
    load.check()
