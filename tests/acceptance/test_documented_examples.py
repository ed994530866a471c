"""What the API page says to copy works on a server that has nothing in it yet."""

from __future__ import annotations

import re
from typing import Any

from tests.acceptance.conftest import FreshServer

MADE_BY_USE = {"thread_id"}
"""What a path may name although nobody has made it."""
NAMES_IN_BODY = {"/api/v1/budgets/reserve"}
"""Paths whose body names a run, which has to be there."""
OF_WHO_MANAGES = {"/api/v1/organisations"}
"""Paths for the organisation that a setting names."""
OF_BROWSERS = {"/api/v1/sign-in", "/api/v1/sign-in/link", "/api/v1/sign-out"}
"""Paths for people who sign in or are signed in."""


def test_every_example_that_needs_nothing_is_taken_by_a_fresh_server(fresh_server: FreshServer) -> None:
    client = fresh_server().client()
    document = client.get("/openapi.json").json()
    asked, refused = [], {}
    for path, methods in document["paths"].items():
        operation = methods.get("post")
        needs = set(re.findall(r"\{(\w+)\}", path)) - MADE_BY_USE
        if operation is None or needs or path in NAMES_IN_BODY | OF_WHO_MANAGES | OF_BROWSERS:
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


MEANS_NOBODY = "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55"


def test_no_example_of_a_body_is_refused_for_what_it_says(fresh_server: FreshServer) -> None:
    """Sent to ids that are not there: whatever is answered, it is not that the body is wrong."""
    client = fresh_server().client()
    document = client.get("/openapi.json").json()
    refused, asked = {}, 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if media is None or path in OF_BROWSERS:
                continue
            assert media.get("example") is not None, (method, path)
            target = re.sub(r"\{\w+\}", MEANS_NOBODY, path)
            reply = client.request(method, target, json=media["example"])
            asked += 1
            if reply.status_code in (400, 422) or reply.status_code >= 500:
                refused[method, path] = (reply.status_code, reply.text, media["example"])
    assert refused == {}
    assert asked > 40


def test_the_example_of_each_part_of_a_body_is_taken(fresh_server: FreshServer) -> None:
    client = fresh_server().client()
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    [scope] = schemas["NewBudget"]["properties"]["scope"]["examples"]
    reply = client.post("/api/v1/budgets", json={"name": "ours", "amount_usd": 1, "scope": scope})
    assert reply.status_code == 201, reply.text
    assert schemas["NewBudget"]["properties"]["amount_usd"]["exclusiveMinimum"] == 0
    assert client.post("/api/v1/budgets", json={"name": "ours", "amount_usd": 0, "scope": scope}).status_code == 422


def test_no_member_of_a_body_has_a_default_for_which_generated_types_ask(fresh_server: FreshServer) -> None:
    schemas = fresh_server().client().get("/openapi.json").json()["components"]["schemas"]
    asked = {
        (name, member)
        for name, schema in schemas.items()
        for member, said in schema.get("properties", {}).items()
        if "default" in said
    }
    assert asked == set()
