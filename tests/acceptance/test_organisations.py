"""Organisations over HTTP: whom the settings let manage them, what everybody else sees, what the audit says; and what
becomes of one that is removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.feeds import Json, create_run, ok
from tests.support.browser import SIGN_IN, browser
from tests.support.server import NO_LIMITS, Server
from tests.support.sse import EventStream, StreamEnded
from tests.support.wait import wait_until

PATH = "/api/v1/organisations"


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose settings let the administrators of `default` manage organisations."""
    settings = {**NO_LIMITS, "TOWERLOG_ORGANISATIONS_MANAGED_BY": "default"}
    with Server(tmp_path_factory.mktemp("managed") / "data", settings) as server:
        yield server


def names(client: httpx2.Client) -> list[str]:
    return [one["name"] for one in ok(client.get(PATH))["data"]]


def entries(client: httpx2.Client, action: str) -> list[Json]:
    found: list[Json] = ok(client.get("/api/v1/audit", params={"action": action}))["data"]
    return found


def test_without_the_setting_nobody_manages_and_everybody_sees_its_own(tmp_path: Path) -> None:
    with Server(tmp_path / "data", NO_LIMITS) as server:
        client = server.client()
        org_id, key = server.make_org("theirs")
        for mine, name in ((client, "default"), (server.client(key), "theirs")):
            listed = ok(mine.get(PATH))
            assert [one["name"] for one in listed["data"]] == [name]
            assert listed["is_manager"] is False
            assert mine.post(PATH, json={"name": "x"}).status_code == 403
            own = listed["data"][0]["org_id"]
            assert mine.patch(f"{PATH}/{own}", json={"name": "x"}).status_code == 403
        assert client.patch(f"{PATH}/{org_id}", json={"name": "x"}).status_code == 404


def test_who_manages_makes_one_that_has_its_own_first_member_and_key(managed: Server) -> None:
    client = managed.client()
    made = ok(client.post(PATH, json={"name": "made"}), 201)
    theirs = managed.client(made["key"])
    assert ok(theirs.get("/api/v1/whoami"))["org_id"] == made["org_id"]
    assert names(theirs) == ["made"]
    assert "made" in names(client)
    assert theirs.post(PATH, json={"name": "more"}).status_code == 403
    assert ok(client.get("/api/v1/runs"))["data"] == ok(theirs.get("/api/v1/runs"))["data"] == []
    token = made["sign_in_url"].partition("#token=")[2]
    session = browser(managed)
    assert session.post(SIGN_IN, json={"token": token}).status_code == 204
    assert ok(session.get("/api/v1/session"))["org_name"] == "made"
    for audit in (client, theirs):
        [entry] = [one for one in entries(audit, "organisation.create") if one["object"]["id"] == made["org_id"]]
        assert entry["actor"]["type"] == "key"
        assert entry["address"] == "127.0.0.1"
        assert made["key"] not in str(entry)


def test_one_is_made_once_for_its_idempotency_key(managed: Server) -> None:
    client, headers = managed.client(), {"Idempotency-Key": "make-it-once"}
    first = ok(client.post(PATH, json={"name": "once"}, headers=headers), 201)
    again = ok(client.post(PATH, json={"name": "once"}, headers=headers), 201)
    # What lets somebody in is shown once, and is not kept.
    assert again == first | {"key": None, "sign_in_url": None}
    assert managed.client(first["key"]).get("/api/v1/whoami").status_code == 200
    other = client.post(PATH, json={"name": "twice"}, headers=headers)
    assert other.status_code == 422
    assert "idempotency" in other.text.lower()
    assert "twice" not in names(client)
    # Without the key it is another request.
    assert client.post(PATH, json={"name": "once"}).status_code == 409
    assert client.post(PATH, json={"name": "odd"}, headers={"Idempotency-Key": ""}).status_code == 422
    # A refusal is not kept.
    wrong = {"Idempotency-Key": "refused-first"}
    assert client.post(PATH, json={"name": "once"}, headers=wrong).status_code == 409
    assert client.post(PATH, json={"name": "later"}, headers=wrong).status_code == 201


def test_who_manages_renames_and_both_audits_say_so(managed: Server) -> None:
    client = managed.client()
    made = ok(client.post(PATH, json={"name": "before"}), 201)
    theirs = managed.client(made["key"])
    path = f"{PATH}/{made['org_id']}"
    assert ok(client.patch(path, json={"name": "after"}))["name"] == "after"
    assert names(theirs) == ["after"]
    for audit in (client, theirs):
        [entry] = [one for one in entries(audit, "organisation.rename") if one["object"]["id"] == made["org_id"]]
        assert (entry["before"], entry["after"]) == ({"name": "before"}, {"name": "after"})
        assert entry["address"] == "127.0.0.1"
    assert ok(client.patch(path, json={"name": "after"}))["name"] == "after"
    assert len(entries(theirs, "organisation.rename")) == 1, "the same name again is no act"
    assert client.patch(path, json={"name": "default"}).status_code == 409
    assert theirs.patch(path, json={"name": "mine"}).status_code == 403
    managed_id = next(one["org_id"] for one in ok(client.get(PATH))["data"] if one["name"] == "default")
    assert theirs.patch(f"{PATH}/{managed_id}", json={"name": "x"}).status_code == 404
    assert client.patch(f"{PATH}/{managed_id}", json={"name": "x"}).status_code == 409, "settings go by its name"
    assert managed.cli("verify").returncode == 0


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\nb", 5, None])
def test_a_bad_name_is_refused_by_field(managed: Server, name: object) -> None:
    reply = managed.client().post(PATH, json={"name": name})
    assert reply.status_code == 422, reply.text
    assert "name" in reply.json()["errors"]


def test_a_name_that_is_taken_is_refused(managed: Server) -> None:
    assert managed.client().post(PATH, json={"name": "default"}).status_code == 409


@pytest.mark.parametrize("scopes", ["read", "ingest,read,control,worker"])
def test_no_other_scope_has_the_right(managed: Server, scopes: str) -> None:
    client = managed.client(managed.make_key(*scopes.split(",")))
    assert [client.get(PATH).status_code, client.post(PATH, json={"name": "x"}).status_code] == [403, 403]


def removed(client: httpx2.Client, org_id: str, **said: object) -> httpx2.Response:
    return client.request("DELETE", f"{PATH}/{org_id}", json=said)


def test_who_manages_removes_one_that_it_names_and_nothing_of_it_is_left(managed: Server) -> None:
    client = managed.client()
    made = ok(client.post(PATH, json={"name": "closing"}), 201)
    theirs = managed.client(made["key"])
    run, mine = create_run(theirs, "t", agent="a"), create_run(client, "t", agent="a")
    session = browser(managed)
    assert session.post(SIGN_IN, json={"token": made["sign_in_url"].partition("#token=")[2]}).status_code == 204
    # What it would take, and what it takes to do it.
    told = ok(removed(client, made["org_id"], dry_run=True))
    assert (told["name"], told["runs"], told["keys"], told["members"]) == ("closing", 1, 1, 1)
    assert (told["removed_at"], told["erased_at"]) == (None, None)
    for said in ({}, {"name": "Closing"}, {"name": made["org_id"]}):
        refused = removed(client, made["org_id"], **said)
        assert refused.status_code == 422, refused.text
        assert "'closing'" in refused.text
    assert names(theirs) == ["closing"]
    url = f"{managed.base_url}/api/v1/live"
    with EventStream(url, {"Authorization": f"Bearer {made['key']}"}) as stream:
        assert stream.next_event().event == "snapshot"
        done = ok(removed(client, made["org_id"], name="closing"))
        assert done["removed_at"] is not None
        with pytest.raises(StreamEnded):
            stream.events(1000)
    wait_until(lambda: theirs.get(PATH).status_code == 401, "its key is good no more")
    assert theirs.post("/v1/threads/t/runs", json={}).status_code == 401
    assert session.get("/api/v1/session").status_code == 401
    assert removed(client, made["org_id"], name="closing").status_code == 404
    assert "closing" not in names(client)
    [gone] = [one for one in ok(client.get(PATH))["removed"] if one["org_id"] == made["org_id"]]
    assert (gone["name"], gone["runs"]) == ("closing", 1)
    [entry] = entries(client, "organisation.remove")
    assert (entry["object"]["id"], entry["actor"]["type"]) == (made["org_id"], "key")
    assert entry["before"] == {kind: told[kind] for kind in ("name", "runs", "events", "keys", "members")}
    # Its name is free; whoever gets it gets nothing else of it.
    again = ok(client.post(PATH, json={"name": "closing"}), 201)
    assert ok(managed.client(again["key"]).get("/api/v1/runs"))["data"] == []
    sql = f"SELECT count(*) FROM run WHERE run_id = '{run['run_id']}'"
    wait_until(lambda: managed.stored(sql) == [(0,)], "its runs are erased")
    assert ok(client.get(f"/api/v1/runs/{mine['run_id']}"))["status"] == "queued"
    assert managed.cli("verify").returncode == 0


def test_ones_own_and_the_managing_organisation_stay(managed: Server) -> None:
    client = managed.client()
    made = ok(client.post(PATH, json={"name": "staying"}), 201)
    theirs = managed.client(made["key"])
    managing = next(one["org_id"] for one in ok(client.get(PATH))["data"] if one["name"] == "default")
    refused = removed(client, managing, name="default")
    assert refused.status_code == 409, refused.text
    assert "stays" in refused.text
    assert removed(theirs, made["org_id"], name="staying").status_code == 403
    assert removed(theirs, managing, name="default").status_code == 404
    assert removed(client, "nobody", name="x").status_code == 404
    assert ok(theirs.get(PATH))["removed"] == []
    assert {"default", "staying"} <= set(names(client))


def test_a_command_removes_one_and_a_restart_goes_on_with_its_erasure(tmp_path: Path) -> None:
    with Server(tmp_path / "data", NO_LIMITS) as server:
        client = server.client()
        org_id, key = server.make_org("theirs")
        theirs = server.client(key)
        create_run(theirs, "t", agent="a")
        asked = server.cli("orgs", "rm", "theirs")
        assert (asked.returncode, "--confirm theirs" in asked.stdout) == (0, True), asked.stderr
        assert "1 run," in asked.stdout
        assert theirs.get("/api/v1/runs").status_code == 200
        assert server.cli("orgs", "rm", "theirs", "--confirm", "default").returncode != 0
        assert server.cli("orgs", "rm", "default", "--confirm", "default").returncode != 0
        told = server.cli_json("orgs", "rm", org_id, "--confirm", "theirs")
        assert (told["removed"], told["runs"]) == (True, 1)
        server.kill()
        server.start()
        assert theirs.get("/api/v1/runs").status_code == 401
        [entry] = entries(client, "organisation.remove")
        assert (entry["object"]["id"], entry["actor"]["type"]) == (org_id, "operator")
        org = server.stored(f"SELECT org FROM org WHERE org_id = '{org_id}'")[0][0]
        wait_until(lambda: server.stored(f"SELECT count(*) FROM agent WHERE org = {org}") == [(0,)], "all is erased")
        assert server.stored(f"SELECT count(*) FROM thread WHERE org = {org}") == [(0,)]
        assert ok(client.get("/api/v1/runs"))["data"] == []
        assert server.cli("verify").returncode == 0
        assert "theirs" not in server.cli("orgs", "ls").stdout
