"""A browser on a page of the server, as far as sign-in goes: it keeps cookies, and its scripts send what ours send."""

from __future__ import annotations

from typing import Any

import httpx2

from tests.support.server import Server

OWN = {"X-Towerlog-Request": "1"}
SIGN_IN = "/api/v1/sign-in"


def browser(server: Server, **options: Any) -> httpx2.Client:
    """One that nobody is signed in in."""
    client = server.client(None, **options)
    client.headers.update({"Origin": server.base_url, **OWN})
    return client


def token_of(admin: httpx2.Client, user_id: str | None = None) -> str:
    """The token of a new sign-in link."""
    reply = admin.post("/api/v1/sign-in-links", json={} if user_id is None else {"user_id": user_id})
    assert reply.status_code == 201, reply.text
    return str(reply.json()["token"])


def signed_in(server: Server, admin: httpx2.Client, role: str = "admin", name: str = "", **more: str) -> httpx2.Client:
    """A browser in which a new member of this role is signed in."""
    body = {"name": name or f"{role}-{token_of(admin)[:12]}", "role": role, **more}
    made = admin.post("/api/v1/members", json=body)
    assert made.status_code == 201, made.text
    client = browser(server)
    reply = client.post(SIGN_IN, json={"token": token_of(admin, made.json()["user_id"])})
    assert reply.status_code == 204, reply.text
    return client


def session_id_of(admin: httpx2.Client) -> str:
    """The id of a session of the one whose key this client has, in a browser of its own."""
    headers = {"Origin": str(admin.base_url).rstrip("/"), **OWN}
    with httpx2.Client(base_url=admin.base_url, headers=headers) as client:
        assert client.post(SIGN_IN, json={"token": token_of(admin)}).status_code == 204
    return str(admin.get("/api/v1/sessions").json()["data"][0]["session_id"])
