"""Stream tickets: what they open, for whom, how often, and what they do not open."""

from __future__ import annotations

from tests.acceptance.feeds import activity_of, create_run, held_run, run_stream, step, watch
from tests.support.server import ADMIN_KEY


def ticket_of(client) -> str:
    reply = client.post("/api/v1/stream-tickets")
    assert reply.status_code == 201, reply.text
    assert reply.headers["Cache-Control"] == "no-store"
    made = reply.json()
    assert made["expires_in_seconds"] == 60
    return str(made["ticket"])


def test_a_ticket_opens_one_stream(client, anonymous, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    path = f"/v1/runs/{run_id}/events?follow=false&ticket={ticket_of(client)}"
    assert "run.queued" in anonymous.get(path).text
    assert anonymous.get(path).status_code == 401
    assert anonymous.get(path.replace("ticket=", "ticket=x")).status_code == 401
    assert anonymous.get(f"/v1/runs/{run_id}/events?ticket=").status_code == 401
    assert anonymous.get(f"/v1/runs/{run_id}/events").status_code == 401


def test_a_stream_of_any_dialect_is_opened(server, client, anonymous, back, unique) -> None:
    agent = unique("agent")
    step(client, unique("sdk"), "run_start", agent_name=agent)
    agent_id = back.agent_id(agent)
    path = f"/agents/{agent_id}/events?tail=5"
    assert anonymous.get(f"{path}&ticket={ticket_of(client)}").json() == activity_of(client, agent_id, tail=5)
    with watch(server, f"{path}&follow=true&ticket={ticket_of(client)}", Authorization="") as stream:
        assert stream.status == 401, "a key that was sent is the key, good or not"


def test_it_has_the_rights_of_its_key_and_no_more(client, scoped, anonymous, other_org, unique) -> None:
    assert scoped("ingest").post("/api/v1/stream-tickets").status_code == 403
    assert anonymous.post("/api/v1/stream-tickets").status_code == 401
    run_id = create_run(client, unique("thread"))["run_id"]
    assert anonymous.get(f"/v1/runs/{run_id}/events?ticket={ticket_of(other_org)}").status_code == 404
    mine = anonymous.get(f"/v1/runs/{run_id}/events?follow=false&ticket={ticket_of(scoped('read'))}")
    assert mine.status_code == 200


def test_it_opens_nothing_but_a_stream(client, anonymous) -> None:
    for path in ("/v1/runs", "/api/v1/runs", "/api/v1/whoami"):
        assert anonymous.get(f"{path}?ticket={ticket_of(client)}").status_code == 401, path
    body = {"event_type": "step", "sdk_run_id": "x", "payload": {}}
    assert anonymous.post(f"/api/ingest?ticket={ticket_of(client)}", json=body).status_code == 401
    assert anonymous.get("/v1/runs", params={"key": ADMIN_KEY, "access_token": ADMIN_KEY}).status_code == 401


def test_the_key_goes_before_the_ticket_which_stays_good(server, client, anonymous, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    ticket = ticket_of(client)
    with run_stream(server, run_id) as stream:
        assert stream.status == 200
    assert client.get(f"/v1/runs/{run_id}/events?follow=false&ticket={ticket}").status_code == 200
    assert anonymous.get(f"/v1/runs/{run_id}/events?follow=false&ticket={ticket}").status_code == 200
    assert ticket not in server.log


def test_what_it_does_not_take_is_refused_and_not_passed_over(client, unique) -> None:
    path = "/api/v1/stream-tickets"
    assert client.post(path, json={}).status_code == 201
    for refused in (
        client.post(path, json={"run_id": "x"}),
        client.post(f"{path}?run_id=x"),
        client.get("/api/v1/whoami?run_id=x"),
    ):
        assert refused.status_code == 422, refused.text
        assert "run_id" in refused.json()["errors"]
        assert "takes none" in refused.json()["detail"]
    assert client.post(path, content=b"[]", headers={"Content-Type": "application/json"}).status_code == 422
    assert client.post(path, content=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    assert client.post(path, headers={"Idempotency-Key": "x" * 256}).status_code == 422


def test_a_retry_gets_the_ticket_whose_reply_was_lost(client, anonymous, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    path, key = "/api/v1/stream-tickets", {"Idempotency-Key": unique("key")}
    [ticket] = {client.post(path, headers=key).json()["ticket"] for _ in range(2)}
    stream = f"/v1/runs/{run_id}/events?follow=false&ticket={ticket}"
    assert anonymous.get(stream).status_code == 200
    assert client.post(path, headers=key).json()["ticket"] != ticket, "one that was used is good for nothing"


def test_looking_at_a_link_does_not_use_its_ticket_up(client, anonymous, unique) -> None:
    path = f"/v1/runs/{create_run(client, unique('thread'))['run_id']}/events?follow=false&ticket={ticket_of(client)}"
    for _ in range(2):
        assert anonymous.head(path).status_code == 200
    assert anonymous.get(path).status_code == 200
    assert anonymous.head(path).status_code == 401


def test_a_ticket_beside_another_key_is_refused_and_stays_good(client, anonymous, other_org, scoped, unique) -> None:
    path = f"/v1/runs/{create_run(client, unique('thread'))['run_id']}/events?follow=false&ticket={ticket_of(client)}"
    key = other_org.headers["Authorization"].removeprefix("Bearer ")
    for known in (scoped("read"), other_org):
        for _ in range(2):
            refused = known.get(path)
            assert (refused.status_code, "ticket" in refused.text) == (400, True)
    assert anonymous.get(path, headers={"X-API-Key": key}).status_code == 400
    assert anonymous.get(path).status_code == 200
    assert other_org.get(path).status_code == 404, "a ticket that was used stands for nobody"
