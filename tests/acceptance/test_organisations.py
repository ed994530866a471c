"""Organisations over HTTP: whom the settings let manage them, what everybody else sees, and what the audit says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.feeds import Json, ok
from tests.support.browser import SIGN_IN, browser
from tests.support.server import NO_LIMITS, Server

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
