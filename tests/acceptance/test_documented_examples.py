"""What the API page says to copy works on a server that has nothing in it yet."""

from __future__ import annotations

import re
from typing import Any

from tests.acceptance.conftest import FreshServer

MADE_BY_USE = {"thread_id"}
"""What a path may name although nobody has made it."""
NAMES_IN_BODY = {"/api/v1/budgets/reserve"}
"""Paths whose body names a run, which has to be there."""
OF_BROWSERS = {"/api/v1/sign-in", "/api/v1/sign-out"}
"""Paths for people who sign in or are signed in."""


def test_every_example_that_needs_nothing_is_taken_by_a_fresh_server(fresh_server: FreshServer) -> None:
    client = fresh_server().client()
    document = client.get("/openapi.json").json()
    asked, refused = [], {}
    for path, methods in document["paths"].items():
        operation = methods.get("post")
        needs = set(re.findall(r"\{(\w+)\}", path)) - MADE_BY_USE
        if operation is None or needs or path in NAMES_IN_BODY | OF_BROWSERS:
            continue
        given = {one["name"]: one["example"] for one in operation["parameters"] if one["in"] == "path"}
        target = re.sub(r"\{(\w+)\}", lambda found, given=given: given[found[1]], path)
        media: dict[str, Any] = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "requestBody" in operation and not media:
            # A form that names an open socket.
            continue
        reply = client.post(target, **({"json": media["example"]} if "example" in media else {}))
        asked.append(path)
        if reply.status_code >= 400:
            refused[path] = (media.get("example"), reply.status_code, reply.text)
    assert refused == {}
    assert {"/v1/threads/{thread_id}/runs", "/v1/threads", "/api/ingest", "/v1/runners/events"} <= set(asked)
