"""The budgets, rules and sockets of the bench look at what is sent, and let all of it pass."""

import json
from collections import Counter
from pathlib import Path

from bench.scenarios import governed
from bench.scenarios.governed import BURDENS
from bench.ways import AGENTS, CallsWay, timestamp
from bench.wire import Client
from tests.support.wait import wait_until

CALLS = 40


def test_model_calls_move_every_budget_that_they_are_in_scope_of(tmp_path: Path) -> None:
    way = CallsWay()
    with governed.governed(tmp_path / "data", BURDENS[0]) as server, Client(server.port, server.key) as client:
        targets = way.prepare(client, CALLS)
        for number in range(CALLS):
            reply = client.post(*way.single(targets, number, 1024, timestamp()))
            assert way.confirms(reply, 1)
            assert reply.json()["commands"] == []
        budgets = client.get("/api/v1/budgets?limit=100").json()["data"]
        assert client.get("/api/v1/alert-rules").json()["data"] == []
    assert len(budgets) == governed.BUDGETS
    spent = {json.dumps(budget["scope"]): budget["spent_usd"] for budget in budgets}
    of_all = spent.pop('{"organisation": true}')
    assert of_all == round(CALLS * 0.0123, 9)
    assert set(spent.values()) == {round(CALLS / 20 * 0.0123, 9)}
    assert len(spent) == governed.BUDGETS - len(governed.PERIODS)


def test_rules_watch_all_that_can_be_watched_and_none_fires(tmp_path: Path) -> None:
    way = CallsWay()
    with governed.governed(tmp_path / "data", BURDENS[-1]) as server, Client(server.port, server.key) as client:
        targets = way.prepare(client, AGENTS)
        for number in range(CALLS):
            client.post(*way.single(targets, number, 1024, timestamp()))
        rules = client.get("/api/v1/alert-rules?limit=100").json()["data"]
        assert client.get("/api/v1/alerts").json()["data"] == []
        assert len(client.get("/api/v1/budgets?limit=100").json()["data"]) == governed.BUDGETS
    counts = Counter(rule["trigger"] for rule in rules)
    assert set(counts) == set(governed.CONFIGS)
    assert counts.total() == governed.RULES
    assert {rule["state"] for rule in rules} <= {"OK", "NO_DATA"}


def test_each_event_is_pushed_to_one_of_the_sockets(tmp_path: Path, monkeypatch) -> None:
    crowds = []

    class Watched(governed.Crowd):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)
            crowds.append(self)

    monkeypatch.setattr(governed, "Crowd", Watched)
    way, size = CallsWay(), 1024
    with governed.governed(tmp_path / "data", BURDENS[-1]) as server, Client(server.port, server.key) as client:
        [crowd] = crowds
        assert len(crowd.sockets) == governed.SOCKETS
        targets = way.prepare(client, AGENTS)
        wait_until(lambda: crowd.read_bytes > 0, "the beginnings were pushed")
        for number in range(CALLS):
            client.post(*way.single(targets, number, size, timestamp()))
        wait_until(lambda: crowd.read_bytes >= CALLS * size, "all was pushed")
        assert crowd.read_bytes < 2 * CALLS * size
        server.stop()
    assert crowd.cut_off == 0
