"""A provider's key stays where it is: the server passes on the name of the variable that holds it, and no more."""

from __future__ import annotations

from tests.acceptance.conftest import FreshServer
from tests.acceptance.feeds import ok

VARIABLE = "PROVIDER_KEY_OF_THIS_TEST"
SECRET = "never-to-be-seen-4c1d"


def test_the_server_reads_no_variable_that_a_route_names(fresh_server: FreshServer) -> None:
    """Also where it runs beside the worker, and has the same environment."""
    server = fresh_server(**{VARIABLE: SECRET})
    client = server.client()
    route = {"route_id": "fast", "provider": "p", "model": "m", "key_env": VARIABLE}
    replies = [client.post("/api/v1/routes", json=route)]
    replies.append(client.post("/v1/threads/t/runs", json={"input": "go", "route_id": "fast"}))
    run_id = ok(replies[-1], 201)["run_id"]
    replies.append(client.post("/api/agents/runs/claim", json={"worker_id": "w"}))
    assert VARIABLE in replies[-1].text, "the worker is told the name"
    paths = ["/api/v1/routes", "/api/v1/routes/fast", f"/api/v1/runs/{run_id}", f"/v1/runs/{run_id}", "/metrics"]
    paths += [f"/api/v1/runs/{run_id}/events", f"/v1/runs/{run_id}/events?follow=false"]
    replies += [client.get(path) for path in paths]
    assert [reply.status_code for reply in replies if reply.status_code >= 300] == []
    assert [reply.url.path for reply in replies if SECRET in f"{reply.headers}{reply.text}"] == []
    server.stop()
    assert server.places_of(SECRET) == []
    assert SECRET not in server.log
