"""A database that says nothing any more: connections that do not end, and a server that stands still.

Real PostgreSQL; between it and one node is a way that a test can make silent.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from tests.support.nodes import Nodes
from tests.support.postgres import Cluster
from tests.support.proxy import SocketProxy
from tests.support.readback import ReadBack
from tests.support.senders import ingest, sdk_event
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow
ANSWER_S = 25.0
"""How long an answer may take: silence is found, what became of a commit is asked; all that on a busy machine."""
READY_S = 10.0
"""How long `/readyz` may take: three seconds, on a busy machine."""
RECOVERY_S = 20.0
"""Five seconds, on a busy machine."""
LOOKS = 3


class Site(NamedTuple):
    """One node, its way to the database, and the database."""

    node: Server
    way: SocketProxy
    base: Cluster


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as opened:
        base = Cluster()
        opened.callback(base.close)
        nodes = Nodes(tmp_path, 0, None, base)
        opened.callback(nodes.close)
        (folder := base.folder / "way").mkdir()
        way = opened.enter_context(SocketProxy(folder, base.folder))
        node = nodes.make(0, TOWERLOG_DATABASE_URL=f"postgresql://towerlog@/{nodes.database}?host={folder}")
        nodes.servers.append(node)
        node.start()
        yield Site(node, way, base)


class Sender:
    """Sends events one after the other, and keeps what it was told of each."""

    def __init__(self, node: Server) -> None:
        self._client = node.client(timeout=ANSWER_S)
        self.told: dict[str, int] = {}

    def send(self) -> httpx2.Response | None:
        """One event; None where no answer came in time."""
        name = f"e{len(self.told)}"
        reply = answered(lambda: ingest(self._client, sdk_event("step", "run", {}, event_id=name)))
        self.told[name] = 0 if reply is None else reply.status_code
        return reply

    def check_log(self) -> None:
        """What was acknowledged is stored, each once; sent again, all of it is."""
        client = self._client
        stored = [event["event_id"] for event in ReadBack(client).events("run")]
        assert len(stored) == len(set(stored))
        assert {name for name, status in self.told.items() if status == 200} <= set(stored)
        for name in self.told:
            assert ingest(client, sdk_event("step", "run", {}, event_id=name)).status_code == 200
        stored = [event["event_id"] for event in ReadBack(client).events("run")]
        assert sorted(name for name in stored if name in self.told) == sorted(self.told)


def answered(ask: Callable[[], httpx2.Response]) -> httpx2.Response | None:
    """None where no answer came in time."""
    try:
        return ask()
    except httpx2.TimeoutException:
        return None


def is_stored(sender: Sender) -> bool:
    """Whether an event is taken in."""
    reply = sender.send()
    assert reply is not None, "no answer in time"
    return reply.status_code == 200


def told_to_come_again(reply: httpx2.Response | None) -> None:
    """A refusal that says when to ask again."""
    assert reply is not None, "no answer in time"
    assert (reply.status_code, "Retry-After" in reply.headers) == (503, True), reply.text


def test_connections_that_go_silent_are_made_anew(site: Site) -> None:
    sender = Sender(site.node)
    for _ in range(LOOKS):
        assert is_stored(sender)
    reader = site.node.client(timeout=ANSWER_S)
    site.way.hush()
    wait_until(lambda: is_stored(sender), "a write to be taken in", deadline_s=ANSWER_S)
    for _ in range(LOOKS):
        reply = answered(lambda: reader.get("/api/v1/runs"))
        assert reply is not None, "no answer in time"
        assert reply.status_code in (200, 503)
    wait_until(lambda: reader.get("/api/v1/runs").status_code == 200, "reads", deadline_s=RECOVERY_S)
    wait_until(lambda: reader.get("/readyz").status_code == 200, "the node to be ready", deadline_s=RECOVERY_S)
    sender.check_log()


def test_a_database_that_stands_still_is_an_outage_and_is_over_once_it_goes_on(site: Site) -> None:
    sender = Sender(site.node)
    assert is_stored(sender)
    client = site.node.client(timeout=ANSWER_S)
    stopped = standing_still(site.base)
    try:
        for _ in range(LOOKS):
            told_to_come_again(sender.send())
            told_to_come_again(answered(lambda: client.get("/api/v1/runs")))
            reply = answered(lambda: client.get("/readyz", timeout=READY_S))
            told_to_come_again(reply)
            assert reply is not None
            assert reply.json()["status"] == "writes_refused"
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: is_stored(sender), "a write to be taken in", deadline_s=RECOVERY_S)
    wait_until(lambda: client.get("/readyz").status_code == 200, "the node to be ready", deadline_s=RECOVERY_S)
    wait_until(lambda: client.get("/api/v1/runs").status_code == 200, "reads", deadline_s=RECOVERY_S)
    sender.check_log()


def standing_still(base: Cluster) -> list[int]:
    """Stops the server with all its processes; those."""
    main = base.process.pid
    os.kill(main, signal.SIGSTOP)  # first, so that no more come
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    pids = [main, *map(int, children)]
    for pid in pids[1:]:
        os.kill(pid, signal.SIGSTOP)
    return pids
