"""One event tells more than a commit has room for, and the server dies after one such commit, and after the next."""

from __future__ import annotations

import shutil
import signal
from contextlib import closing
from pathlib import Path

import apsw
import httpx2
import pytest

from tests.acceptance.test_alerts import PAUSES, every, fail, make
from tests.faults.disk import Faulty, FaultyServer
from tests.faults.test_placed_kills import Killed
from tests.support.hooks import HERE, receiving_hooks
from tests.support.server import database_of
from tests.support.wait import wait_until

RECEIVERS = 10
SETTINGS = {
    "TOWERLOG_EGRESS_ALLOW": HERE,
    "TOWERLOG_WEBHOOK_RETRY_SECONDS": PAUSES,
    "TOWERLOG_MAX_RULES_PER_KEY": "200",
}


@pytest.mark.parametrize(("rules", "kills"), [(60, 2), pytest.param(200, 8, marks=pytest.mark.slow)])
def test_each_rule_tells_each_receiver_once_whenever_the_server_dies(
    faulty: Faulty, tmp_path: Path, rules: int, kills: int
) -> None:
    """In the order of the rules; each kill comes between two commits of what that one event tells."""
    with receiving_hooks() as hooks:
        killed = Killed(faulty, tmp_path, "after a commit of new messages", **SETTINGS)
        server, client = killed.server, killed.server.client()
        targets = [hooks.url(f"/{number}", f"127.0.0.{number + 1}") for number in range(RECEIVERS)]
        made = [make(client, "error", *targets, name=f"rule {number}") for number in range(rules)]
        killed.arm()
        with pytest.raises(httpx2.TransportError):
            fail(client, "r", event_id="e")
        written = [_messages_after_the_kill(server, tmp_path / "0")]
        for kill in range(1, kills):
            server.start(is_up=lambda _: True)
            written.append(_messages_after_the_kill(server, tmp_path / str(kill)))
        killed.disarm()
        server.start()
        fail(client, "r", event_id="e")
        wait_until(lambda: len(every(client, "/api/v1/deliveries")) == rules * RECEIVERS, "all of them", deadline_s=120)
        wait_until(lambda: not every(client, "/api/v1/deliveries", state="pending"), "all were sent", deadline_s=120)
        sent, fired = every(client, "/api/v1/deliveries")[::-1], every(client, "/api/v1/alerts")[::-1]
        verified = server.cli("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
    assert written == sorted(set(written)), "each kill came after a commit of some more"
    assert written[-1] < rules * RECEIVERS, "all was told before the last kill"
    assert [one["rule_id"] for one in fired] == [rule["rule_id"] for rule in made]
    assert [(one["rule_id"], one["target"]) for one in sent] == [
        (rule["rule_id"], target) for rule in made for target in targets
    ]
    assert {one["state"] for one in sent} == {"delivered"}
    taken = {(one.message_id, one.json()["rule_id"]) for one in hooks.taken}
    assert taken == {(one["webhook_id"], one["rule_id"]) for one in sent}
    assert len(taken) == rules * RECEIVERS


def _messages_after_the_kill(server: FaultyServer, folder: Path) -> int:
    """How many are in the outbox of the server that has killed itself: in a copy, to look changes the store."""
    assert server.ended() == -signal.SIGKILL, f"the point was not reached\n{server.log}"
    with closing(apsw.Connection(str(database_of(shutil.copytree(server.data_dir, folder))))) as db:
        [(count,)] = db.execute("SELECT count(*) FROM delivery")
    return int(count)
