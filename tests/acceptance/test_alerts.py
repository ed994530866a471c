"""Alerts over the wire: rules, what fires, and messages that arrive although receivers fail and the server dies."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from tests.acceptance.feeds import Json, ok
from tests.support.hooks import HERE, Hooks, often, receiving_hooks
from tests.support.senders import ingest, sdk_event
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.cli.main import main

ABSENT = "01890000-0000-7000-8000-00000000dead"
PAUSES = "1,1,1"


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with receiving_hooks() as opened:
        yield opened


@pytest.fixture
def told(fresh_server) -> httpx2.Client:
    """A server that may post to this machine."""
    server: Server = fresh_server(TOWERLOG_EGRESS_ALLOW=HERE, TOWERLOG_WEBHOOK_RETRY_SECONDS=PAUSES)
    return server.client()


def make(client: httpx2.Client, trigger: str = "error", *targets: str, **given: Any) -> Json:
    """A rule with webhooks."""
    channels = [{"type": "webhook", "target": target} for target in targets]
    body = {"name": f"on {trigger}", "trigger": trigger, "channels": channels} | given
    made: Json = ok(client.post("/api/v1/alert-rules", json=body), 201)
    return made


def fail(client: httpx2.Client, run: str, **fields: Any) -> None:
    """A run that has failed."""
    payload = {"error_type": "IOError", "error_message": "no paper"}
    ok(ingest(client, sdk_event("error", run, payload, **{"agent_name": "writer", **fields})))


def every(client: httpx2.Client, path: str, **query: Any) -> list[Json]:
    """All rows of a list."""
    found: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        asked = {"limit": 200, **query} | ({"cursor": cursor} if cursor else {})
        page = ok(client.get(path, params=asked))
        found += page["data"]
        cursor = page["next"]
    return found


def test_the_url_of_a_chat_is_shown_to_those_who_administer_alone(server, unique) -> None:
    """Whoever has it can post there. Who may change the rule can send it back as it is shown, and it stays."""
    admin = server.client(server.make_org(unique("org"))[1])
    target = "https://hooks.slack.com/services/T0/B0/SECRET"
    rule = ok(
        admin.post(
            "/api/v1/alert-rules",
            json={"name": "ours", "trigger": "error", "channels": [{"type": "slack", "target": target}]},
        ),
        201,
    )
    fail(admin, unique("run"))
    path = f"/api/v1/alert-rules/{rule['rule_id']}"
    made = ok(admin.post("/api/v1/keys", json={"name": "other", "scopes": ["read", "control"]}), 201)
    other = server.client(made["key"])
    reads = (path, "/api/v1/alert-rules", f"/alerts/{rule['rule_id']}", "/alerts", "/api/v1/deliveries")
    for read in reads:
        assert "SECRET" in admin.get(read).text
        assert "SECRET" not in other.get(read).text
        assert "https://hooks.slack.com/" in other.get(read).text
    assert "SECRET" not in admin.get("/api/v1/audit").text
    shown = ok(other.get(path))["channels"]
    changed = ok(other.patch(path, json={"channels": shown, "name": "theirs"}))
    assert (changed["channels"], changed["name"]) == (shown, "theirs")
    assert ok(admin.get(path))["channels"][0]["target"] == target
    refused = other.post("/api/v1/alert-rules", json={"name": "x", "trigger": "error", "channels": shown})
    assert (refused.status_code, "channels.0.target" in refused.text) == (422, True)


@pytest.mark.parametrize("path", ["/api/v1/alert-rules", "/alerts"])
def test_a_repeated_reply_has_no_secret(server, unique, path: str) -> None:
    client = server.client(server.make_org(unique("org"))[1])
    channels = [{"type": "webhook", "target": "https://hooks.example.com/a"}]
    body = {"name": unique("rule"), "trigger": "error", "channels": channels}
    first, again = (client.post(path, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert "whsec_" in first.text
    assert again.status_code == first.status_code == 201
    assert "whsec_" not in again.text


def test_a_rule_is_made_read_changed_and_deleted(server, unique) -> None:
    client = server.client(server.make_org(unique("org"))[1])
    rule = make(client, "cost_threshold", "https://hooks.example.com/a", config={"amount_usd": 0.3})
    assert rule["channels"][0]["secret"].startswith("whsec_")
    assert (rule["config"], rule["state"], rule["act"]) == ({"amount_usd": 0.3}, "OK", None)
    known = ok(client.get(f"/api/v1/alert-rules/{rule['rule_id']}"))
    assert known["channels"] == [{"type": "webhook", "target": "https://hooks.example.com/a", "secret": None}]
    path = f"/api/v1/alert-rules/{rule['rule_id']}"
    changed = ok(client.patch(path, json={"name": "dear", "act": "pause", "cooldown_minutes": 1.5}))
    assert (changed["name"], changed["act"], changed["cooldown_minutes"]) == ("dear", "pause", 1.5)
    assert ok(client.patch(path, json={"act": None}))["act"] is None
    assert [one["name"] for one in every(client, "/api/v1/alert-rules")] == ["dear"]
    ok(client.delete(path))
    assert client.get(path).status_code == 404
    assert every(client, "/api/v1/alert-rules") == []


SCOPE = ("agent", "thread_id", "run_id", "label", "persona")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"trigger": "cost_threshold"}, "config.amount_usd"),
        ({"trigger": "stalled", "config": {"amount_usd": 1}}, "config.amount_usd"),
        ({"trigger": "error", "config": {"times": 3}}, "config.times"),
        ({"trigger": "burn_rate", "config": {"amount_usd": 1}, "act": "pause"}, "act"),
        ({"channels": [{"type": "webhook", "target": "ftp://x.example.com/"}]}, "channels.0.target"),
        ({"channels": [{"type": "webhook", "target": "https://127.1/"}]}, "channels.0.target"),
        ({"channels": [{"type": "webhook", "target": "https://u:p@x.example.com/"}]}, "channels.0.target"),
        ({"channels": [{"type": "webhook"}]}, "channels.0.target"),
        ({"channels": [{"type": "email", "target": "a@b, c@d"}]}, "channels.0.target"),
        ({"channels": [{"type": "in_app", "target": "x"}]}, "channels.0.target"),
        ({"channels": [{"type": "slack", "target": "https://x.example.com/", "secret": "s"}]}, "channels.0.secret"),
        ({"channels": [{"type": "webhook", "target": "https://x.example.com/", "secret": "s"}]}, "channels.0.secret"),
        ({"channels": [{"type": "in_app"}] * 2}, "channels.1"),
        ({"channels": [{"type": "pager"}]}, "channels.0.type"),
        ({"scope": {"run_id": "x"}}, "scope.run_id"),
        ({"scope": {"run_id": ABSENT}}, "scope.run_id"),
        ({"scope": {"organisation": True, "agent": "a"}}, "scope"),
        *(({"scope": {name: empty}}, f"scope.{name}") for name in SCOPE for empty in ("", " ", "\u200b", None)),
        ({"scope": {"agent": "", "label": "x"}}, "scope.agent"),
        ({"scope": {"organisation": False}}, "scope.organisation"),
        ({"name": " "}, "name"),
        ({"colour": "red"}, "colour"),
        ({"cooldown_minutes": -1}, "cooldown_minutes"),
    ],
)  # fmt: skip
def test_what_could_not_work_is_refused_by_field(client, body: Json, field: str) -> None:
    reply = client.post("/api/v1/alert-rules", json={"name": "x", "trigger": "error"} | body)
    assert reply.status_code == 422, reply.text
    assert field in reply.json()["errors"], reply.text


def test_the_paths_of_the_origin_are_rules_in_its_own_words(server, unique) -> None:
    client = server.client(server.make_org(unique("org"))[1])
    rule = ok(
        client.post("/alerts", json={"name": "waits", "trigger": "waiting_too_long", "config": {"minutes": 5}}), 201
    )
    assert [one["rule_id"] for one in ok(client.get("/alerts"))["data"]] == [rule["rule_id"]]
    path = f"/alerts/{rule['rule_id']}"
    assert ok(client.patch(f"{path}/toggle"))["enabled"] is False
    assert ok(client.patch(f"{path}/toggle"))["enabled"] is True
    assert ok(client.patch(path, json={"name": "waits long"}))["name"] == "waits long"
    assert ok(client.get(path))["name"] == "waits long"
    wrong = client.post("/alerts", json={"name": "x", "trigger": "cost_threshold"})
    assert (wrong.status_code, list(wrong.json()["errors"])) == (422, ["config.amount_usd"])
    ok(client.delete(path))
    assert client.patch(f"{path}/toggle").status_code == 404


def test_a_failed_run_is_told_once_signed_with_the_fields_of_the_origin(told, hooks: Hooks) -> None:
    rule = make(told, "error", hooks.url())
    ok(ingest(told, sdk_event("run_start", "r", {}, agent_name="writer")))
    fail(told, "r", event_id="e")
    fail(told, "r", event_id="e")
    wait_until(lambda: hooks.taken, "the message")
    [taken] = hooks.taken
    said = taken.verified(rule["channels"][0]["secret"])
    run_id = ok(told.get("/api/v1/runs"))["data"][0]["run_id"]
    assert said | {"timestamp": "", "fired_at": "", "alert_id": ""} == {
        "type": "alert.fired", "timestamp": "", "alert_id": "", "alert_name": "on error", "rule_id": rule["rule_id"],
        "trigger_type": "error", "state": "ALERT", "message": "A run of agent 'writer' has failed: IOError: no paper",
        "subject": f"run:{run_id}", "agent_name": "writer", "run_id": run_id, "thread_id": "r", "status": "failed",
        "cost_usd": None, "total_tokens": None, "fired_at": "", "ended_at": None, "acted": None,
        "approval_id": None, "run_url": None, "answer_url": None, "answer_expires_at": None,
    }  # fmt: skip
    [alert] = every(told, "/api/v1/alerts")
    assert (alert["alert_id"], alert["state"]) == (said["alert_id"], "ALERT")
    [delivery] = wait_until(lambda: every(told, "/api/v1/deliveries", state="delivered"), "its record")
    assert (delivery["webhook_id"], delivery["attempts"][0]["status"]) == (taken.message_id, 200)
    assert "secret" not in delivery
    assert delivery["body"] == said


def test_a_rule_is_tried_on_what_is_stored(told) -> None:
    fail(told, "r")
    asked = {"trigger": "error", "scope": {"agent": "writer"}}
    found = ok(told.post("/api/v1/alert-rules:preview", json=asked))
    [fired] = found["fired"]
    assert (fired["agent_name"], fired["message"]) == (
        "writer", "A run of agent 'writer' has failed: IOError: no paper",
    )  # fmt: skip
    assert (found["runs"], found["whole"], found["suppressed"]) == (1, True, 0)
    assert every(told, "/api/v1/alerts") == every(told, "/api/v1/alert-rules") == []
    wrong = told.post("/api/v1/alert-rules:preview", json={"trigger": "stalled"})
    assert (wrong.status_code, list(wrong.json()["errors"])) == (422, ["config.minutes"])


def test_an_alert_is_acknowledged_and_muted(told) -> None:
    rule = make(told)
    fail(told, "r")
    [alert] = every(told, "/api/v1/alerts", state="ALERT")
    path = f"/api/v1/alerts/{alert['alert_id']}"
    assert ok(told.post(f"{path}:mute", json={"minutes": 5}))["muted_until"] is not None
    assert ok(told.post(f"{path}:mute", json={"minutes": 0}))["muted_until"] is None
    seen = ok(told.post(f"{path}:acknowledge"))
    assert (seen["state"], ok(told.get(path))) == ("OK", seen)
    assert seen["acknowledged_by_user_id"]
    assert ok(told.get(f"/api/v1/alert-rules/{rule['rule_id']}"))["state"] == "OK"
    assert told.post(f"/api/v1/alerts/{ABSENT}:acknowledge").status_code == 404


def test_what_was_given_up_is_sent_anew_by_hand_and_by_cursor(told, hooks: Hooks) -> None:
    hooks.fails = often(1)
    make(told, "error", hooks.url())
    for number in range(3):
        fail(told, f"r{number}")
    given_up = wait_until(
        lambda: rows if len(rows := every(told, "/api/v1/deliveries", state="failed")) == 3 else None, "the last tries"
    )
    assert {len(one["attempts"]) for one in given_up} == {1 + len(PAUSES.split(","))}
    hooks.fails = often(0)
    ok(told.post(f"/api/v1/deliveries/{given_up[0]['delivery_id']}:redeliver"))
    first = ok(told.post("/api/v1/deliveries:redeliver", json={"limit": 1}))
    assert first["redelivered"] == 1
    second = ok(told.post("/api/v1/deliveries:redeliver", json={"cursor": first["next"]}))
    assert (first["redelivered"] + second["redelivered"], second["next"]) == (2, None)
    wait_until(lambda: len(every(told, "/api/v1/deliveries", state="delivered")) == 3, "all of them")
    assert {one.message_id for one in hooks.taken} == {one["webhook_id"] for one in given_up}


def test_the_message_of_one_organisation_is_nobody_elses(server, unique) -> None:
    mine, theirs = (server.client(server.make_org(unique("org"))[1]) for _ in range(2))
    rule = make(mine, "error", "https://nowhere.invalid/")
    fail(mine, "r")
    [alert], [delivery] = every(mine, "/api/v1/alerts"), every(mine, "/api/v1/deliveries")
    for path in ("alert-rules", "alerts", "deliveries"):
        assert every(theirs, f"/api/v1/{path}") == []
    assert theirs.get(f"/api/v1/alert-rules/{rule['rule_id']}").status_code == 404
    assert theirs.post(f"/api/v1/alerts/{alert['alert_id']}:acknowledge").status_code == 404
    assert theirs.post(f"/api/v1/deliveries/{delivery['delivery_id']}:redeliver").status_code == 404


def test_64_posters_over_a_threshold_fire_once(told) -> None:
    """Each of them tells a tenth of a cent; the run passes a dollar cent once, however they come in between."""
    make(told, "cost_threshold", config={"amount_usd": 0.01})
    ok(told.post("/api/v1/events", json={"client_id": "c", "events": [_cost("shared", 0, 0.0)]}))

    def post(number: int) -> None:
        events = [_cost("shared", number * 4 + part + 1, 0.0001) for part in range(4)]
        ok(told.post("/api/v1/events", json={"client_id": f"c{number}", "events": events}))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(post, range(64)))
    [alert] = every(told, "/api/v1/alerts")
    assert alert["cost_usd"] == 0.01


def _cost(run: str, number: int, usd: float) -> Json:
    return {
        "type": "model.call", "run_key": run, "event_id": f"e{number}", "client_seq": number + 1, "agent": "writer",
        "data": {"usage": {"input_tokens": 1}, "cost_usd": usd},
    }  # fmt: skip


def test_the_command_line_sets_rules_and_looks_after_messages(fresh_server, hooks: Hooks) -> None:
    server: Server = fresh_server(TOWERLOG_EGRESS_ALLOW=HERE, TOWERLOG_WEBHOOK_RETRY_SECONDS="1")
    client = server.client()

    def cli(*arguments: str) -> str:
        done = server.cli_inside("alerts", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    hooks.fails = often(1)
    options = ["--trigger", "cost_threshold", "--amount", "0.5", "--webhook", hooks.url(), "--agent", "a"]
    made = cli("set", "dear", *options)
    assert made.startswith("Alert rule dear: on cost_threshold, OK.")
    assert "is signed with whsec_" in made
    assert "off" in cli("off", "dear")
    assert "OK" in cli("on", "dear")
    ok(ingest(client, sdk_event("run_end", "r", {"cost_usd": 0.75}, agent_name="a")))
    assert "A run of agent 'a' has cost $0.75" in cli("ls", "--rule", "dear", "--open", "--wide")
    assert "ALERT" in cli("rules")
    wait_until(lambda: "failed" in cli("deliveries", "--state", "failed"), "the last try")
    hooks.fails = often(0)
    assert cli("redeliver", "--failed").strip() == "Messages that are sent anew: 1."
    wait_until(lambda: hooks.taken, "the message")
    [alert] = every(client, "/api/v1/alerts")
    assert "is muted until" in cli("mute", alert["alert_id"])
    assert "is acknowledged, and OK" in cli("ack", alert["alert_id"])
    assert cli("rm", "dear").strip() == "Alert rule dear was removed."
    assert "No alert rules." in cli("rules")


RECEIVERS = 8


@pytest.mark.parametrize(
    ("runs", "kills"),
    [(12, 2), pytest.param(150, 6, marks=pytest.mark.slow), pytest.param(1250, 20, marks=pytest.mark.slow)],
)
def test_nothing_is_lost_whatever_the_receiver_does_and_however_the_server_dies(
    tmp_path: Path, hooks: Hooks, runs: int, kills: int
) -> None:
    """Each failed run fires once for each rule; each message is taken in the end, under one id, signed."""
    hooks.fails = often(0.5)
    env = {**NO_LIMITS, "TOWERLOG_EGRESS_ALLOW": HERE, "TOWERLOG_WEBHOOK_RETRY_SECONDS": PAUSES}
    with Server(tmp_path / "data", env) as server:
        client = server.client()
        targets = [hooks.url(f"/{number}", f"127.0.0.{number + 1}") for number in range(RECEIVERS)]
        rules = [make(client, "error", target, name=target) for target in targets]
        hooks.secrets = {rule["rule_id"]: rule["channels"][0]["secret"] for rule in rules}
        _fail_runs_while_it_is_killed(server, client, hooks, runs, kills)
        wait_until(lambda: not every(client, "/api/v1/deliveries", state="pending"), "no message waits", deadline_s=600)
        hooks.fails = often(0)
        cursor: str | None = ""
        while cursor is not None:
            cursor = ok(client.post("/api/v1/deliveries:redeliver", json={"cursor": cursor, "limit": 1000}))["next"]
        wait_until(lambda: not every(client, "/api/v1/deliveries", state="pending"), "all were sent", deadline_s=600)
        alerts, deliveries = every(client, "/api/v1/alerts"), every(client, "/api/v1/deliveries")
        verified = server.cli("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
    assert Counter((one["rule_id"], one["run_id"]) for one in alerts).most_common(1)[0][1] == 1
    assert len(alerts) == len(deliveries) == runs * RECEIVERS
    assert {one["state"] for one in deliveries} == {"delivered"}
    assert hooks.wrong == []
    alert_of: dict[str, str] = {}
    for taken in hooks.taken:
        said = taken.json()
        assert alert_of.setdefault(taken.message_id, said["alert_id"]) == said["alert_id"]
    assert set(alert_of) == {one["webhook_id"] for one in deliveries}
    assert len(set(alert_of.values())) == len(alerts)


def _fail_runs_while_it_is_killed(server: Server, client: httpx2.Client, hooks: Hooks, runs: int, kills: int) -> None:
    """Fails every run, each until that is acknowledged, while the server is killed and started again."""
    left = list(range(runs))
    source = random.Random(runs)
    is_up = threading.Event()
    is_up.set()

    def post() -> None:
        while left:
            try:
                number = left.pop(0)
            except IndexError:
                return
            while True:
                is_up.wait()
                try:
                    fail(client, f"r{number}", event_id=f"e{number}")
                    break
                except httpx2.TransportError:
                    continue

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for kill in range(kills):
        goal = max(0, runs - runs * (kill + 1) // (kills + 1))
        wait_until(lambda goal=goal: len(left) <= goal, "its share of the runs", deadline_s=300)
        tries = hooks.tries + source.randrange(6)
        wait_until(lambda tries=tries: hooks.tries >= tries, "some more attempts")
        is_up.clear()
        server.kill()
        server.start()
        is_up.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("path", ["/api/v1/alert-rules", "/alerts"])
@pytest.mark.parametrize("empty", ["", " ", None])
def test_a_scope_that_is_empty_makes_no_rule_wider(client, unique, path: str, empty: str | None) -> None:
    body = {"name": unique("rule"), "trigger": "error", "scope": {"agent": "a"}, "act": "cancel"}
    made = client.post(path, json=body).json()
    for name in SCOPE:
        for scope in ({name: empty}, {name: empty, "label" if name == "agent" else "agent": "a"}):
            for refused in (
                client.patch(f"{path}/{made['rule_id']}", json={"scope": scope}),
                client.post(path, json=body | {"scope": scope}),
            ):
                assert (refused.status_code, f"scope.{name}" in refused.text) == (422, True), refused.text
    assert client.get(f"{path}/{made['rule_id']}").json()["scope"] == {"agent": "a"}
    client.delete(f"{path}/{made['rule_id']}").raise_for_status()


@pytest.mark.parametrize(
    "query",
    ["runs?agent=", "runs?thread_id=", "runs?label=%20", "usage?agent=", "alerts?rule_id=", "approvals?run_id="],
)
def test_a_filter_that_is_empty_lists_nothing(client, query: str) -> None:
    refused = client.get(f"/api/v1/{query}")
    name = query.partition("?")[2].partition("=")[0]
    assert (refused.status_code, list(refused.json()["errors"])) == (422, [name])


@pytest.mark.parametrize(
    "command", [["alerts", "set", "x", "--trigger", "error"], ["budgets", "set", "x", "--amount", "1"], ["runs", "ls"]]
)
@pytest.mark.parametrize("empty", ["", " "])
def test_an_option_that_is_empty_is_refused_by_its_name(server, client, command: list[str], empty: str) -> None:
    env = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY}
    done = CliRunner().invoke(main, [*command, "--agent", empty], env=env)
    assert (done.exit_code, "--agent" in done.output) == (2, True), done.output
    assert "x" not in [one["name"] for one in client.get("/api/v1/alert-rules").json()["data"]]
