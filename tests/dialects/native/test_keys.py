"""Keys over the native API: made, listed without their text, revoked; for administrators alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.asgi.conversation import HandClock, ask
from tests.dialects.native.feeds import pages_of
from towerlog.asgi.app import App
from towerlog.model.key import is_intact


async def test_a_key_is_told_once(app: App, say: Any) -> None:
    made = await say("POST", "/api/v1/keys", value={"name": "mine", "scopes": ["read", "ingest", "read"]})
    assert made.status == 201
    assert made.headers["cache-control"] == "no-store"
    key = made.json["key"]
    assert is_intact(key)
    assert made.json["scopes"] == ["read", "ingest"]
    assert (await ask(app, "GET", "/v1/runs", key=key)).status == 200
    listed = await say("GET", "/api/v1/keys")
    assert key.encode() not in listed.body
    (row,) = [row for row in listed.json["data"] if row["key_id"] == made.json["key_id"]]
    assert key.startswith(row["hint"])
    assert len(row["hint"]) < 20
    assert row["revoked_at"] is None


async def test_a_revoked_key_is_listed_as_such(app: App, say: Any, clock: HandClock) -> None:
    made = (await say("POST", "/api/v1/keys", value={"name": "mine", "scopes": ["read"]})).json
    for _ in range(2):
        gone = await say("DELETE", f"/api/v1/keys/{made['key_id']}")
        assert gone.status == 200
        assert gone.json["revoked_at"]
    clock.move(3)
    assert (await ask(app, "GET", "/v1/runs", key=made["key"])).status == 401
    assert (await say("DELETE", "/api/v1/keys/nobody")).status == 404


async def test_keys_are_paged_newest_first(say: Any, clock: HandClock) -> None:
    for n in range(4):
        clock.move(1)
        await say("POST", "/api/v1/keys", value={"name": f"k{n}", "scopes": ["read"]})
    names = [row["name"] for page in await pages_of(say, "/api/v1/keys", limit=2) for row in page]
    assert names == ["k3", "k2", "k1", "k0", "admin"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "n"}, "scopes"),
        ({"name": "n", "scopes": []}, "scopes"),
        ({"name": "n", "scopes": ["all"]}, "scopes.0"),
        ({"name": "n", "scopes": "read"}, "scopes"),
        ({"name": " ", "scopes": ["read"]}, "name"),
        ({"name": "a\nb", "scopes": ["read"]}, "name"),
        ({"name": "x" * 201, "scopes": ["read"]}, "name"),
    ],
)
async def test_a_wrong_key_is_a_problem_that_names_the_field(say: Any, body: Any, field: str) -> None:
    reply = await say("POST", "/api/v1/keys", value=body)
    assert reply.status == 422
    assert any(name.startswith(field.split(".")[0]) for name in reply.json["errors"]), reply.json


@pytest.mark.parametrize("scope", ["read", "ingest", "control", "worker"])
async def test_only_administrators_have_to_do_with_keys(app: App, say: Any, scope: str) -> None:
    key = (await say("POST", "/api/v1/keys", value={"name": "k", "scopes": [scope]})).json["key"]
    assert (await ask(app, "GET", "/api/v1/keys", key=key)).status == 403
    assert (await ask(app, "POST", "/api/v1/keys", key=key, value={"name": "k", "scopes": ["admin"]})).status == 403
    assert (await ask(app, "DELETE", "/api/v1/keys/x", key=key)).status == 403
