"""Keys, scopes and organisations: made and revoked beside the running server, over the command line and over HTTP."""

from __future__ import annotations

import base64
import json
import time

import httpx2
import pytest

from tests.acceptance.feeds import UUID, create_run, ok, rest_of, run_stream, step, watch
from tests.support.senders import ingest, sdk_event
from tests.support.server import ADMIN_KEY
from tests.support.sse import EventStream, StreamEnded
from tests.support.wait import wait_until

SCOPES = ["ingest", "read", "control", "worker", "admin"]
REVOKED_WITHIN_S = 60


def allowed(client: httpx2.Client, run_id: str) -> set[str]:
    """The scopes that a key shows by what it may do."""
    body = {"worker_id": "nobody", "wait_seconds": 0, "agents": ["no-such-agent"]}
    tries = {
        "ingest": ingest(client, sdk_event("step", "probe")),
        "read": client.get("/v1/runs"),
        "control": client.post(f"/v1/runs/{run_id}/input", json={"content": "x"}),
        "worker": client.post("/api/agents/runs/claim", json=body),
        "admin": client.get("/api/v1/keys"),
    }
    assert all(reply.status_code < 500 and reply.status_code != 401 for reply in tries.values())
    return {scope for scope, reply in tries.items() if reply.status_code != 403}


@pytest.mark.parametrize("scope", [scope for scope in SCOPES if scope != "admin"])
def test_a_key_may_do_what_its_scope_says_and_no_more(server, client, unique, scope) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    assert allowed(server.client(server.make_key(scope)), run_id) == {scope}


def test_a_key_may_have_several_scopes(server, client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    assert allowed(server.client(server.make_key("ingest", "read")), run_id) == {"ingest", "read"}


def test_an_admin_key_without_other_scopes_manages_keys(server, client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    assert "admin" in allowed(server.client(server.make_key("admin")), run_id)


def test_the_bootstrap_key_is_the_admin_of_the_default_organisation(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    assert allowed(client, run_id) == set(SCOPES)


def test_a_server_without_a_bootstrap_key_prints_one_once(fresh_server) -> None:
    server = fresh_server(TOWERLOG_BOOTSTRAP_KEY="")
    words = {word.strip("\"'.,:;()") for word in server.says("Set TOWERLOG_API_KEY").split()}
    keys = [word for word in words if 32 <= len(word) <= 200 and works(server.base_url, word)]
    assert len(keys) == 1, server.log
    assert server.log.count(keys[0]) == 1
    server.restart()
    assert server.log.count(keys[0]) == 1
    assert server.client(keys[0]).get("/v1/runs").status_code == 200
    assert server.client(ADMIN_KEY).get("/v1/runs").status_code == 401


def works(base_url: str, key: str) -> bool:
    """Whether a word of the server's output is a key."""
    if not key.isascii() or "/" in key:
        return False
    reply = httpx2.get(f"{base_url}/v1/runs", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    return reply.status_code == 200


def test_the_forms_of_json_on_the_command_line(server, unique) -> None:
    made = server.create_key("read", "ingest")
    assert {"key_id", "key"} <= set(made)
    assert 32 <= len(made["key"]) <= 200
    name = unique("org")
    org = server.cli_json("orgs", "create", name)
    assert {"org_id", "key"} <= set(org)
    assert UUID.fullmatch(org["org_id"])
    assert server.client(org["key"]).get("/v1/runs").json() == []


def test_an_organisation_made_beside_the_running_server_works_at_once(server, unique) -> None:
    org_id, key = server.make_org(unique("org"))
    mine = server.client(key)
    run_id = create_run(mine, "thread")["run_id"]
    assert ok(mine.get(f"/v1/runs/{run_id}"))["org_id"] == org_id
    assert allowed(mine, run_id) == set(SCOPES)


def test_an_organisation_that_is_there_is_not_made_again(server, unique) -> None:
    name = unique("org")
    server.make_org(name)
    done = server.cli("orgs", "create", name, "--json")
    assert done.returncode != 0
    assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_of_another_organisation_belongs_there(server, unique) -> None:
    name = unique("org")
    org_id, _ = server.make_org(name)
    mine = server.client(server.make_key("control", "read", org=name))
    run_id = create_run(mine, "thread")["run_id"]
    assert ok(mine.get(f"/v1/runs/{run_id}"))["org_id"] == org_id


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", "n", "--scopes", "everything"],
        ["--name", "n", "--scopes", ""],
        ["--name", "n", "--scopes", "read,,write"],
        ["--name", "n", "--scopes", "read", "--org", "nobody-has-this-name"],
    ],
    ids=["unknown-scope", "no-scope", "half-known", "unknown-org"],
)
def test_a_key_that_cannot_be_is_refused_in_words(server, arguments) -> None:
    done = server.cli_inside("keys", "create", *arguments, "--json")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_keys_list_never_shows_a_key(server) -> None:
    made = server.create_key("read")
    done = server.cli("keys", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert made["key_id"] in done.stdout
    assert made["key"] not in done.stdout
    assert ADMIN_KEY not in done.stdout
    plain = server.cli_inside("keys", "list")
    assert made["key"] not in plain.stdout
    assert made["key_id"] in plain.stdout


def test_the_data_folder_holds_no_key_in_clear(server) -> None:
    assert server.places_of(server.make_key("read")) == []
    assert server.places_of(ADMIN_KEY) == []


def test_the_password_of_the_mail_server_is_nowhere_in_the_data_folder(fresh_server) -> None:
    """It is a setting; the secret of a webhook is not, and is what this finds in the same way."""
    server = fresh_server(TOWERLOG_SMTP_URL="smtp://user:hunter-of-mail@127.0.0.1:1?from=a@example.com")
    client, secret = server.client(), f"whsec_{base64.b64encode(b'hunter-of-hooks-' * 2).decode()}"
    channels = [
        {"type": "email", "target": "b@example.com"},
        {"type": "webhook", "target": "https://hooks.invalid/", "secret": secret},
    ]
    rule = {"name": "both", "trigger": "error", "scope": {"agent": "a"}, "channels": channels}
    client.post("/api/v1/alert-rules", json=rule).raise_for_status()
    step(client, "run", "error", {"error_message": "no paper"}, agent_name="a")
    server.stop()
    assert server.places_of("hunter-of-mail") == []
    assert server.places_of(secret), "as SECURITY says"


def drained(stream: EventStream, deadline_s: float) -> bool:
    """Whether the server ends the stream before the deadline."""
    ends_at = time.monotonic() + deadline_s
    try:
        while True:
            stream.next_frame(ends_at - time.monotonic())
    except StreamEnded:
        return True
    except TimeoutError:
        return False


def test_a_revocation_is_honoured_open_streams_included(server, client, back, unique) -> None:
    agent = unique("agent")
    ok(ingest(client, sdk_event("run_start", unique("sdk"), {}, agent_name=agent)))
    agent_id = back.agent_id(agent)
    run_id = create_run(client, unique("thread"))["run_id"]
    made, kept = server.create_key("read", "ingest"), server.create_key("read")
    mine = server.client(made["key"])
    ok(mine.get("/v1/runs"))
    with (
        run_stream(server, run_id, made["key"]) as of_run,
        watch(server, f"/agents/{agent_id}/events?follow=true", made["key"]) as of_agent,
        run_stream(server, run_id, kept["key"]) as of_another,
    ):
        assert [stream.status for stream in (of_run, of_agent, of_another)] == [200] * 3
        done = server.cli_inside("keys", "revoke", made["key_id"])
        assert done.returncode == 0, done.stderr
        wait_until(lambda: mine.get("/v1/runs").status_code == 401, "the key to die", deadline_s=REVOKED_WITHIN_S)
        assert ingest(mine, sdk_event("step", "probe")).status_code == 401
        for stream in (of_run, of_agent):
            assert drained(stream, REVOKED_WITHIN_S), "a stream outlived its key"
        ok(client.post(f"/v1/runs/{run_id}:cancel"))
        assert "run.cancelled" in [frame.json["type"] for frame in rest_of(of_another)]


def test_a_revocation_survives_a_restart(fresh_server) -> None:
    server = fresh_server()
    made = server.create_key("read")
    assert server.client(made["key"]).get("/v1/runs").status_code == 200
    assert server.cli_inside("keys", "revoke", made["key_id"]).returncode == 0
    server.restart()
    assert server.client(made["key"]).get("/v1/runs").status_code == 401
    assert server.client().get("/v1/runs").status_code == 200


def test_revoking_what_is_not_there_is_an_error_in_words(server) -> None:
    done = server.cli_inside("keys", "revoke", "01890000-0000-7000-8000-000000000000")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_keys_over_http(server, client, unique) -> None:
    reply = client.post("/api/v1/keys", json={"name": unique("key"), "scopes": ["read"]})
    assert reply.status_code == 201, reply.text
    made = reply.json()
    assert {"key_id", "key"} <= set(made)
    mine = server.client(made["key"])
    ok(mine.get("/v1/runs"))
    assert mine.get("/api/v1/keys").status_code == 403
    listed = client.get("/api/v1/keys", params={"limit": 200})
    assert made["key_id"] in [key["key_id"] for key in ok(listed)["data"]]
    assert made["key"] not in listed.text
    gone = client.delete(f"/api/v1/keys/{made['key_id']}")
    assert gone.status_code in {200, 204}, gone.text
    wait_until(lambda: mine.get("/v1/runs").status_code == 401, "the key to die", deadline_s=REVOKED_WITHIN_S)
    missing = client.delete("/api/v1/keys/01890000-0000-7000-8000-000000000000")
    assert missing.status_code == 404
    assert missing.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    "body",
    [{}, {"name": "n"}, {"name": "n", "scopes": []}, {"name": "n", "scopes": ["all"]}, {"name": "n", "scopes": "read"}],
    ids=["nothing", "no-scopes", "empty-scopes", "unknown-scope", "scopes-no-list"],
)
def test_a_wrong_key_over_http_is_a_problem(client, body) -> None:
    reply = client.post("/api/v1/keys", json=body)
    assert reply.status_code == 422, reply.text
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert "scopes" in json.dumps(reply.json()) or "name" in json.dumps(reply.json())


def test_what_needs_no_key(anonymous) -> None:
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs", "/metrics"]:
        assert anonymous.get(path).status_code == 200, path
    document = anonymous.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    paths = set(document["paths"])
    assert {
        "/v1/runners/events", "/internal/v1/runners/events", "/api/ingest", "/v1/runs", "/v1/runs/{run_id}",
        "/v1/threads/{thread_id}/runs", "/api/v1/runs", "/api/v1/agents", "/api/v1/keys",
    } <= paths  # fmt: skip
    assert any(path.startswith("/agents/{") for path in paths)
    assert any(path.startswith("/api/agents/runs/{") for path in paths)
