"""The document: every route is in it, every reference leads somewhere, real replies are as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from towerlog.asgi.app import App
from towerlog.asgi.pages.openapi import build_document

METHODS = {"get", "post", "delete", "put", "patch"}


@pytest.fixture
async def document(app: App) -> dict[str, Any]:
    return build_document(app.table)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield method, path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


async def test_every_route_is_in_it_once(app: App, document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    written = {(method.upper(), path) for method, path, _ in operations(document)}
    assert written == {(route.declared.method, route.declared.path) for route in app.table}
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert len(found) > 30
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place, reference


async def test_every_parameter_of_a_path_is_described(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        wanted = set(re.findall(r"\{(\w+)\}", path))
        assert {one["name"] for one in operation["parameters"] if one["in"] == "path"} == wanted
        assert all(one["required"] for one in operation["parameters"] if one["in"] == "path")


async def test_scopes_and_keys_are_said(app: App, document: dict[str, Any]) -> None:
    for route in app.table:
        operation = document["paths"][route.declared.path][route.declared.method.lower()]
        if route.public:
            assert operation["security"] == []
        else:
            assert "admin" in operation["x-scopes"]
            assert "security" not in operation


async def test_refusals_are_described_in_each_dialects_form(document: dict[str, Any]) -> None:
    def shape(path: str, method: str, status: str) -> dict[str, Any]:
        reference = document["paths"][path][method]["responses"][status]["$ref"].split("/")[-1]
        (media,) = document["components"]["responses"][reference]["content"].values()
        return dict(document["components"]["schemas"][media["schema"]["$ref"].split("/")[-1]])

    assert set(shape("/v1/runs", "get", "404")["required"]) == {"code", "message", "trace_id"}
    assert shape("/api/ingest", "post", "422")["required"] == ["message"]
    assert set(shape("/api/v1/runs", "get", "401")["required"]) >= {"type", "title", "status", "detail"}


async def test_bodies_are_asked_for_where_they_are_needed(document: dict[str, Any]) -> None:
    def body(path: str) -> Any:
        return document["paths"][path]["post"].get("requestBody")

    assert body("/api/ingest")["required"] is True
    assert body("/v1/threads/{thread_id}/runs")["required"] is False
    assert "application/x-ndjson" in body("/agents/{id}/events")["content"]


async def test_it_is_served_as_it_is_built(say: Any, document: dict[str, Any]) -> None:
    reply = await say("GET", "/openapi.json", key=None)
    assert reply.json == document


async def test_a_batch_of_which_everything_was_refused_has_the_form_of_a_reply(document: dict[str, Any]) -> None:
    for path in ("/v1/runners/events", "/internal/v1/runners/events", "/agents/{id}/events"):
        operation = document["paths"][path]["post"]
        (media,) = operation["responses"]["422"]["content"].values()
        reply = operation["responses"]["200"]["content"]["application/json"]["schema"]
        error, as_reply = media["schema"]["anyOf"]
        assert as_reply == reply, path
        assert error["$ref"].endswith("Error"), path


async def test_every_native_endpoint_shows_what_is_sent_and_what_comes_back(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        if operation["tags"] == ["native"]:
            good = min(operation["responses"])
            assert operation["responses"][good]["content"]["application/json"]["example"], (method, path)
            if operation.get("requestBody"):
                assert operation["requestBody"]["content"]["application/json"]["example"], (method, path)


async def test_a_refusal_says_in_words_what_it_may_mean(document: dict[str, Any]) -> None:
    said = {name: one["description"] for name, one in document["components"]["responses"].items()}
    assert "lease" in said["native_409"]
    assert said["native_405"] == "Method Not Allowed."
    assert all(words.endswith(".") for words in said.values())


async def test_a_success_is_described_by_what_it_returns(document: dict[str, Any]) -> None:
    described = {
        (path, status): found["description"]
        for _, path, operation in operations(document)
        for status, found in operation["responses"].items()
        if status in {"200", "201"}
    }
    assert described["/v1/threads/{thread_id}/runs", "201"].startswith("Created. ")
    assert all(len(text.split()) >= 2 and text.endswith(".") for text in described.values()), described
    assert len(set(described.values())) > len(described) / 3, "most replies have words of their own"
