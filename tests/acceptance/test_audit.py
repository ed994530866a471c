"""The audit on a real server: every act leaves exactly one entry, nothing else does, and a changed one is found."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.acceptance.feeds import Json, cancel, claim, create_run, held_run, ok
from tests.acceptance.routes import POSTS, ROUTES
from tests.acceptance.test_idempotency_keys import target
from tests.acceptance.test_idempotency_lost_bodies import KILLED, changed_server
from tests.support.browser import session_id_of
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog import Client
from towerlog.model.audit import Action

ACTS: dict[tuple[str, str], str] = {
    ("POST", "/approvals/{}/{}/approve"): "run.approve",
    ("POST", "/approvals/{}/{}/reject"): "run.reject",
    ("POST", "/api/v1/approvals/{}"): "run.reject",
    ("POST", "/api/v1/approvals/{}/links"): "approval.link",
    ("POST", "/v1/threads/{}/runs"): "run.create",
    ("POST", "/v1/runs/{}:cancel"): "run.cancel",
    ("POST", "/v1/runs/{}/input"): "run.message",
    ("POST", "/v1/threads"): "thread.create",
    ("POST", "/api/v1/agents"): "agent.create",
    ("POST", "/api/v1/runs/{}:pause"): "run.pause",
    ("POST", "/api/v1/runs/{}:resume"): "run.resume",
    ("POST", "/api/v1/runs/{}:cancel"): "run.cancel",
    ("POST", "/api/v1/runs/{}:kill"): "run.kill",
    ("POST", "/api/v1/runs/{}:retry"): "run.retry",
    ("POST", "/api/v1/runs/{}:fork"): "run.fork",
    ("POST", "/api/v1/personas"): "persona.create",
    ("POST", "/api/v1/routes"): "route.create",
    ("POST", "/api/v1/keys"): "key.create",
    ("DELETE", "/api/v1/keys/{}"): "key.revoke",
    ("POST", "/api/v1/members"): "member.create",
    ("PATCH", "/api/v1/members/{}"): "member.change",
    ("DELETE", "/api/v1/members/{}"): "member.remove",
    ("POST", "/api/v1/members/{}:sign-out"): "member.sign_out",
    ("POST", "/api/v1/sign-in-links"): "member.link",
    ("DELETE", "/api/v1/sign-in-links/{}"): "member.link_end",
    ("DELETE", "/api/v1/sessions/{}"): "member.sign_out",
    ("POST", "/api/v1/budgets"): "budget.create",
    ("PATCH", "/api/v1/budgets/{}"): "budget.change",
    ("DELETE", "/api/v1/budgets/{}"): "budget.delete",
    ("DELETE", "/api/v1/budgets/reservations/{}"): "reservation.release",
    ("POST", "/api/v1/prices"): "price.create",
    ("DELETE", "/api/v1/prices/{}"): "price.delete",
    ("PUT", "/api/v1/retention/{}"): "retention.set",
    ("DELETE", "/api/v1/retention/{}"): "retention.clear",
    ("DELETE", "/api/v1/runs/{}"): "run.erase",
    ("DELETE", "/api/v1/threads/{}"): "thread.erase",
    **{("POST", path): "rule.create" for path in ("/api/v1/alert-rules", "/alerts")},
    **{("PATCH", path): "rule.change" for path in ("/api/v1/alert-rules/{}", "/alerts/{}", "/alerts/{}/toggle")},
    **{("DELETE", path): "rule.delete" for path in ("/api/v1/alert-rules/{}", "/alerts/{}")},
    ("POST", "/api/v1/alerts/{}:acknowledge"): "alert.acknowledge",
    ("POST", "/api/v1/alerts/{}:mute"): "alert.mute",
    ("POST", "/api/v1/deliveries/{}:redeliver"): "delivery.redeliver",
    ("POST", "/api/v1/deliveries:redeliver"): "delivery.redeliver",
}
"""Every route that people change something by, and what the audit calls it."""
OF_WHO_MANAGES = {
    ("POST", "/api/v1/organisations"),
    ("PATCH", "/api/v1/organisations/{}"),
    ("DELETE", "/api/v1/organisations/{}"),
}
"""Acts of the organisation that manages all of them: their entries are looked at in `test_organisations`."""
NO_ACTS = {
    *[("POST", path) for path in ("/v1/runners/events", "/internal/v1/runners/events", "/api/ingest")],
    *[("POST", path) for path in ("/agents/{}/events", "/api/v1/events", "/api/v1/runs/{}:report")],
    *[("POST", f"/api/agents/runs/{{}}/{act}") for act in ("events", "claim", "release", "complete", "fail")],
    ("POST", "/api/agents/runs/claim"),
    *[("POST", path) for path in ("/v1/traces", "/v1/logs", "/v1/metrics")],
    ("POST", "/api/v1/budgets/reserve"),
    # A dry run; what it writes has an entry for each run.
    ("POST", "/api/v1/prices/reprice"),
    # What it has erased the log tells.
    ("POST", "/api/v1/retention/run"),
    # Tries a rule, and stores nothing.
    ("POST", "/api/v1/alert-rules:preview"),
    # What is in force for a minute and changes nothing that is kept.
    ("POST", "/api/v1/stream-tickets"),
    ("POST", "/broadcasting/auth"),
    # The form of an answer link: its answer is an act of whoever made the link, and needs the link.
    ("POST", "/a/{}"),
    # Acts of people, who are no keys: `test_sign_in.py` has their entries.
    *[("POST", "/api/v1/sign-in"), ("POST", "/api/v1/sign-out"), ("PATCH", "/api/v1/session")],
    # Reads whose a sign-in link is; the token stands in a body, so that no log has it.
    ("POST", "/api/v1/sign-in/link"),
    # The name of an action that there is not.
    ("POST", "/v1/runs/{}:{}"),
}
"""Every other one that is no reading: telemetry, the work of workers and agents, tickets."""
BODILESS = {
    *[(method, path) for method, path in ACTS if method == "DELETE"],
    ("PATCH", "/alerts/{}/toggle"),
    ("POST", "/api/v1/alerts/{}:acknowledge"),
    ("POST", "/api/v1/deliveries/{}:redeliver"),
    ("POST", "/api/v1/members/{}:sign-out"),
}
"""The acts whose route reads no body, so that none is refused for it."""
OF_MANY = {
    ("POST", "/api/v1/deliveries:redeliver"),
    ("POST", "/api/v1/members/{}:sign-out"),
    ("DELETE", "/api/v1/sign-in-links/{}"),
    ("DELETE", "/api/v1/sessions/{}"),
}
"""The acts on many things at once, and on what has no state: their entry says which, and has no state of before."""
GONE = {"budget.delete", "reservation.release", "price.delete", "rule.delete", "retention.clear"}
"""The acts after which there is nothing."""
BY_TELEMETRY = sorted(path for method, path in NO_ACTS if path in POSTS)


def audit(client: httpx2.Client, **query: Any) -> list[Json]:
    """All entries of the caller's organisation, oldest first."""
    found: list[Json] = []
    cursor: str | None = None
    while True:
        page = ok(client.get("/api/v1/audit", params={**query, **({"cursor": cursor} if cursor else {})}))
        found += page["data"]
        cursor = page["next"]
        if cursor is None:
            return found[::-1]


@pytest.fixture
def org(server: Server, unique: Any) -> httpx2.Client:
    """The admin of an organisation of this test's own."""
    return server.client(server.make_org(unique("org"))[1])


def of_alerts(client: httpx2.Client, path: str) -> str:
    """The path with what it may act on: a rule, an alert that lasts, a message that was given up."""
    channels = [{"type": "email", "target": "ada@example.com"}]
    body = {"name": "to change", "trigger": "error", "channels": channels}
    rule = ok(client.post("/api/v1/alert-rules", json=body), 201)
    if "rules" in path or path.startswith("/alerts"):
        return path.replace("{}", rule["rule_id"])
    ok(ingest(client, sdk_event("error", "failed", {"error_message": "x"})))
    [alert] = ok(client.get("/api/v1/alerts"))["data"]
    if path.startswith("/api/v1/alerts"):
        return path.replace("{}", alert["alert_id"])
    failed = {"state": "failed"}
    # The server of these tests sends no mail.
    [one] = wait_until(lambda: ok(client.get("/api/v1/deliveries", params=failed))["data"], "the end of the attempts")
    return path.replace("{}", one["delivery_id"])


def act(client: httpx2.Client, unique: Any, method: str, path: str) -> tuple[str, str]:
    """What a route may act on, made and ready: its path, and the path's last id."""
    if path == "/api/v1/keys/{}":
        body = {"name": "to revoke", "scopes": ["read"]}
        return path.replace("{}", ok(client.post("/api/v1/keys", json=body), 201)["key_id"]), "key_id"
    if path == "/api/v1/budgets/{}":
        made = ok(client.post("/api/v1/budgets", json=ROUTES["POST", "/api/v1/budgets"].body), 201)
        return path.replace("{}", made["budget_id"]), "budget_id"
    if path == "/api/v1/budgets/reservations/{}":
        ok(
            client.post("/api/v1/budgets", json={"name": "held", "scope": {"organisation": True}, "amount_usd": 10}),
            201,
        )
        held = {"run_id": create_run(client, unique("thread"))["run_id"], "amount_usd": 0.01}
        return path.replace("{}", ok(client.post("/api/v1/budgets/reserve", json=held))["reservation_id"]), "run_id"
    if path == "/api/v1/sign-in-links/{}":
        return path.replace("{}", ok(client.post("/api/v1/sign-in-links", json={}), 201)["link_id"]), "link_id"
    if path == "/api/v1/sessions/{}":
        return path.replace("{}", session_id_of(client)), "session_id"
    if path == "/api/v1/prices/{}":
        made = ok(client.post("/api/v1/prices", json=ROUTES["POST", "/api/v1/prices"].body), 201)
        return path.replace("{}", made["price_id"]), "price_id"
    if path == "/api/v1/retention/{}":
        where = path.replace("{}", "deltas")
        ok(client.put(where, json={"max_age_seconds": 7_776_000}))
        return where, "kind"
    if (method, path) == ("DELETE", "/api/v1/runs/{}"):
        run_id = create_run(client, unique("thread"))["run_id"]
        cancel(client, run_id)
        return path.replace("{}", run_id), "run_id"
    if (method, path) == ("DELETE", "/api/v1/threads/{}"):
        return path.replace("{}", ok(client.post("/v1/threads", json={"title": "t"}), 201)["thread_id"]), "thread_id"
    if "alert" in path or "deliveries" in path:
        return of_alerts(client, path), "rule_id"
    where = target(client, unique, path)
    if path.endswith(":resume"):
        ok(client.post(where.replace(":resume", ":pause"), json={}))
    return where, "run_id"


def test_every_route_is_an_act_or_is_known_to_be_none() -> None:
    """A new route has to be said here."""
    writing = {(method, path) for method, path in ROUTES if method != "GET"}
    assert writing == set(ACTS) | NO_ACTS | OF_WHO_MANAGES
    assert not set(ACTS) & NO_ACTS
    assert {ACTS[known] for known in ACTS} <= set(Action)


@pytest.mark.parametrize(("method", "path"), sorted(ACTS), ids=map(" ".join, sorted(ACTS)))
def test_an_act_leaves_exactly_one_entry(org, unique, method: str, path: str) -> None:
    where, _ = act(org, unique, method, path)
    before = audit(org)
    reply = org.request(method, where, json=ROUTES[method, path].body)
    assert reply.status_code < 300, reply.text
    after = audit(org)
    assert after[:-1] == before, "not one entry"
    entry, who = after[-1], ok(org.get("/api/v1/whoami"))
    assert (entry["action"], entry["number"], entry["address"]) == (ACTS[method, path], len(after), "127.0.0.1")
    assert {name: value for name, value in entry["actor"].items() if value is not None} == {
        "type": "key", "user_id": who["user_id"], "user_name": "admin", "key_id": who["key_id"], "key_name": "admin",
    }  # fmt: skip
    assert entry["object"]["type"] == ACTS[method, path].partition(".")[0]
    told = reply.json() if reply.content else {}
    ids = {str(value) for name, value in told.items() if name.endswith("_id")} | {where.split("/")[-1].split(":")[0]}
    if "/approvals/" not in path and not path.endswith("/input"):
        assert entry["object"]["id"] in ids
    is_new = entry["action"].endswith((".create", ".retry", ".fork", ".link"))
    assert (entry["before"] is None) == (is_new or (method, path) in OF_MANY)
    assert (entry["after"] is None) == (entry["action"] in GONE)
    assert entry["before"] != entry["after"]


@pytest.mark.parametrize("path", sorted(path for method, path in ACTS if method == "POST"))
def test_a_repeat_under_one_idempotency_key_leaves_no_second(org, unique, path: str) -> None:
    where, _ = act(org, unique, "POST", path)
    before, key = len(audit(org)), {"Idempotency-Key": unique("key")}
    replies = [org.post(where, json=ROUTES["POST", path].body, headers=key) for _ in range(3)]
    assert all(reply.status_code < 300 for reply in replies), [reply.text for reply in replies]
    assert [entry["action"] for entry in audit(org)[before:]] == [ACTS["POST", path]]


@pytest.mark.parametrize("path", BY_TELEMETRY)
def test_what_is_no_act_leaves_no_entry(org, unique, path: str) -> None:
    # The run that money is held for.
    ok(org.post("/api/v1/events", json=ROUTES["POST", "/api/v1/events"].body))
    where = target(org, unique, path)
    before = audit(org)
    reply = org.post(where, json=ROUTES["POST", path].body)
    assert reply.status_code < 300, reply.text
    assert audit(org) == before


@pytest.mark.parametrize(("method", "path"), sorted(ACTS), ids=map(" ".join, sorted(ACTS)))
def test_a_refused_act_leaves_no_entry(server, org, unique, method: str, path: str) -> None:
    """For want of the scope, and for a body that does not fit; where none is read, for an id that there is not."""
    where, _ = act(org, unique, method, path)
    before = audit(org)
    name = ok(org.get("/api/v1/whoami"))["org_id"]
    # Who may report may register an agent, and release what it holds, too.
    scope = "read" if path in ("/api/v1/agents", "/api/v1/budgets/reservations/{}") else "ingest"
    stranger = server.client(server.make_key(scope, org=name))
    made = audit(org)
    assert [entry["action"] for entry in made[len(before) :]] == ["key.create"], "made by the command"
    assert stranger.request(method, where, json=ROUTES[method, path].body).status_code == 403
    if (method, path) in BODILESS:
        refused = org.request(method, path.replace("{}", str(uuid4())))
        assert refused.status_code == 404, refused.text
    else:
        refused = org.request(method, where, json={"no such member": 1})
        assert refused.status_code >= 400, refused.text
    assert audit(org) == made


def test_it_is_for_admins_alone_and_each_sees_its_own(server, org, other_org, unique) -> None:
    ok(org.post("/v1/threads", json={"thread_id": unique("ours")}), 201)
    ours, theirs = audit(org), audit(other_org)
    assert [entry["action"] for entry in ours] == ["organisation.create", "thread.create"]
    assert not {entry["hash"] for entry in ours} & {entry["hash"] for entry in theirs}
    name = ok(org.get("/api/v1/whoami"))["org_id"]
    for scope in ("ingest", "read", "control", "worker"):
        reply = server.client(server.make_key(scope, org=name)).get("/api/v1/audit")
        assert reply.status_code == 403, scope
    [entry] = audit(org, object=ours[1]["object"]["id"])
    assert entry == ours[1]
    assert audit(other_org, object=ours[1]["object"]["id"]) == []


def test_it_is_paged_and_filtered(org) -> None:
    for number in range(5):
        ok(org.post("/v1/threads", json={"thread_id": f"t{number}"}), 201)
    whole = audit(org)
    assert [entry["number"] for entry in whole] == [1, 2, 3, 4, 5, 6]
    for limit in (1, 2, 3, 6):
        assert audit(org, limit=limit) == whole
    assert audit(org, limit=2, action="thread.create") == whole[1:]
    assert audit(org, object="t3") == [whole[4]]
    assert audit(org, actor="admin", action="thread.create") == whole[1:]
    assert audit(org, actor=whole[1]["actor"]["key_id"]) == whole[1:]
    assert audit(org, actor="nobody") == []
    assert audit(org, since=whole[3]["at"])[-3:] == whole[3:]
    assert audit(org, since="2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"action": "key.forge"}, "action"),
        ({"since": "yesterday"}, "since"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"actor": "x" * 1000}, "actor"),
        ({"object": "x" * 1000}, "object"),
    ],
)
def test_what_is_wrong_is_refused_by_its_field(client, query: Json, field: str) -> None:
    reply = client.get("/api/v1/audit", params=query)
    assert reply.status_code == 422, reply.text
    assert field in reply.json()["errors"]


def test_neither_a_key_nor_what_people_write_to_agents_stands_in_it(org, unique) -> None:
    made = ok(org.post("/api/v1/keys", json={"name": "ci", "scopes": ["read"]}), 201)
    run_id = held_run(org, unique("thread"), "w")
    ok(org.post(f"/v1/runs/{run_id}/input", json={"content": "the password is hunter2"}))
    ok(org.post(f"/v1/runs/{run_id}:cancel", json={"reason": f"leaked {made['key']}"}))
    text = org.get("/api/v1/audit").text
    assert made["key"] not in text
    assert made["key"].rsplit("_", 1)[1] not in text
    assert "hunter2" not in text
    assert "leaked tl_ro_" in text


def test_the_address_is_that_of_whoever_the_trusted_proxy_speaks_for(fresh_server) -> None:
    server = fresh_server(TOWERLOG_TRUSTED_PROXIES="127.0.0.1")
    client = server.client()
    ok(client.post("/v1/threads", json={"thread_id": "t"}, headers={"X-Forwarded-For": "198.51.100.9"}), 201)
    assert audit(client)[-1]["address"] == "198.51.100.9"


def test_the_sdk_and_the_command_show_the_same(server, org, unique) -> None:
    thread = unique("thread")
    ok(org.post("/v1/threads", json={"thread_id": thread, "title": "One"}), 201)
    key = org.headers["Authorization"].removeprefix("Bearer ")
    with Client(server.base_url, key) as client:
        [entry] = client.list_audit(object=thread)
        assert (entry.action, entry.object.type, entry.before, entry.after["title"]) == (
            "thread.create",
            "thread",
            None,
            "One",
        )
        assert entry.actor.key_name == "admin"
        assert [one.number for one in client.list_audit()] == [2, 1]


def test_commands_on_the_machine_are_told_by_their_account(fresh_server, tmp_path) -> None:
    """Also what `rebuild` and `restore` have done; and the chain goes on over all of it."""
    server = fresh_server()
    client, account = server.client(), pwd.getpwuid(os.getuid()).pw_name
    made = server.create_key("read")
    server.cli_json("keys", "revoke", made["key_id"])
    server.cli_json("orgs", "create", "beside")
    entries = audit(client)
    assert [entry["action"] for entry in entries] == ["organisation.create", "key.create", "key.revoke"]
    server_itself, *others = [(entry["actor"]["type"], entry["actor"]["user_name"]) for entry in entries]
    assert server_itself == ("server", None)
    assert others == [("operator", account)] * 2
    assert {entry["address"] for entry in entries} == {None}
    saved = tmp_path / "saved.db"
    server.cli_json("backup", str(saved))
    ok(client.post("/v1/threads", json={"thread_id": "lost"}), 201)
    server.stop()
    assert server.cli_json("rebuild")["not_mended"] == []
    server.start()
    rebuilt = audit(client)
    assert [entry["action"] for entry in rebuilt[3:]] == ["thread.create", "store.rebuild"]
    assert rebuilt[:3] == entries
    assert (rebuilt[-1]["actor"]["user_name"], rebuilt[-1]["after"]) == (account, {"events": 0})
    server.stop()
    server.cli_json("restore", str(saved))
    server.start()
    restored = audit(client)
    assert restored[:-1] == entries, "what the backup had"
    assert (restored[-1]["action"], restored[-1]["after"]) == ("store.restore", {"file": "saved.db", "events": 0})
    ok(client.post("/v1/threads", json={"thread_id": "new"}), 201)
    assert [entry["number"] for entry in audit(client)] == [1, 2, 3, 4, 5]
    assert server.cli_json("verify")["ok"]


def test_the_local_key_is_told_where_it_was_made(fresh_server) -> None:
    """What a command mints for this machine by itself is a key like any other."""
    server = fresh_server()
    done = server.cli_inside("runs", "ls")
    assert done.returncode == 0, done.stderr
    entry = audit(server.client())[-1]
    assert (entry["action"], entry["actor"]["type"]) == ("key.create", "operator")


TAMPERED = {
    "a changed word": (
        "UPDATE audit_entry SET doc = CAST(replace(doc, 'Ours', 'Hers') AS BLOB) WHERE object_id = 'ours'",
        "audit entry 2: its hash does not fit: this entry or one before it was changed",
    ),
    "a row taken out": ("DELETE FROM audit_entry WHERE object_id = 'ours'", "audit: entry 2 is missing"),
    "the last row taken out": (
        "DELETE FROM audit_entry WHERE object_id = 'last'",
        "audit: entry 3 is missing at its end",
    ),
    "another actor": ("UPDATE audit_entry SET user_name = 'eve' WHERE object_id = 'ours'", "audit entry 2"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_verify_names_one_row_that_was_tampered_with(fresh_server, name: str) -> None:
    server = fresh_server()
    for thread in ("ours", "last"):
        ok(server.client().post("/v1/threads", json={"thread_id": thread, "title": thread.title()}), 201)
    server.stop()
    assert server.cli_inside("verify").returncode == 0
    sql, words = TAMPERED[name]
    server.forge(
        sql,
        sql.replace("CAST(replace(doc,", "convert_to(replace(convert_from(doc, 'UTF8'),").replace(
            "AS BLOB)", ", 'UTF8')"
        ),
    )
    done = server.cli_inside("verify")
    assert done.returncode == 1
    assert words in done.stderr
    refused = server.cli_inside("backup", str(server.data_dir.parent / "no.db"))
    assert refused.returncode == 1, "a backup of it is not kept"
    rebuilt = server.cli_inside("rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "not mended: " in rebuilt.stderr
    assert words in rebuilt.stderr, "what a rebuild cannot mend it names"
    assert "no rebuild mends it" in rebuilt.stderr
    again = server.cli_inside("verify")
    assert again.returncode == 1
    assert words.partition(":")[0] in again.stderr


@pytest.mark.parametrize("path", ["/api/v1/keys", "/v1/threads/{}/runs"])
def test_a_process_killed_between_commit_and_reply_has_told_it_once(tmp_path: Path, unique, path: str) -> None:
    folder, key = tmp_path / "killed", {"Idempotency-Key": unique("key")}
    folder.mkdir()
    killed, sound = changed_server(folder, KILLED), Server(folder / "data", NO_LIMITS)
    where, body = path.replace("{}", "thread"), ROUTES["POST", path].body
    try:
        with pytest.raises(httpx2.TransportError):
            killed.start().client().post(where, json=body, headers=key)
        killed.close()
        client = sound.start().client()
        for _ in range(3):
            assert client.post(where, json=body, headers=key).status_code < 300
        assert [entry["action"] for entry in audit(client)] == ["organisation.create", ACTS["POST", path]]
        assert sound.cli_json("verify")["ok"]
    finally:
        killed.close()
        sound.close()


def test_whom_a_cancel_reaches_below_is_no_entry_of_its_own(org, unique) -> None:
    parent = held_run(org, unique("thread"), "w")
    child = create_run(org, unique("thread"), parent_run_id=parent)["run_id"]
    claim(org, child, "w2")
    ok(ingest(org, sdk_event("step", unique("sdk"), {"node_name": "n"})))
    before = len(audit(org))
    ok(org.post(f"/v1/runs/{parent}:cancel", json={"reason": "enough"}))
    [entry] = audit(org)[before:]
    assert (entry["object"]["id"], entry["after"]["reason"]) == (parent, "enough")
