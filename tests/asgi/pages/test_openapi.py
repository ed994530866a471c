"""The document: every route is in it, every reference leads somewhere, real replies are as it says."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from towerlog.asgi.app import App
from towerlog.asgi.pages import static
from towerlog.asgi.pages.openapi import build_document
from towerlog.asgi.routes import PageVisit, Route
from towerlog.model.run import Status

METHODS = {"get", "post", "delete", "put", "patch"}


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """The one that was built, once it was: it is the same for each application, and takes longer than all the rest."""
    return {}


@pytest.fixture
async def document(app: App, documents: dict[str, Any]) -> dict[str, Any]:
    if not documents:
        documents.update(build_document(app.table))
    return documents


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield method, path, operation


def told_of(app: App) -> list[Route]:
    """The routes that the document has words for."""
    return [route for route in app.table if route.page is None or route.page.is_described]


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
    assert written == {(route.declared.method, route.declared.path) for route in told_of(app)}
    left_out = {route.page.name for route in app.table if route.page is not None and not route.page.is_described}
    assert left_out == {
        "push_socket",
        "screen",
        "stray",
        "asset",
        "icon",
        "sign_in_by_provider",
        "provider_callback",
        "mcp",
    }, "a WebSocket, what a browser opens, and a protocol of its own are no operations"
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
    for route in told_of(app):
        operation = document["paths"][route.declared.path][route.declared.method.lower()]
        if route.public:
            optional = [{}, {"bearer": []}, {"apiKey": []}]
            assert operation["security"] == (optional if route.declared.path == "/metrics" else [])
            assert "key is needed" in operation["description"]
        else:
            assert "admin" in operation["x-scopes"]
            assert "security" not in operation


async def test_refusals_are_described_in_each_dialects_form(document: dict[str, Any]) -> None:
    def shape(path: str, method: str, status: str) -> dict[str, Any]:
        reference = document["paths"][path][method]["responses"][status]["$ref"].split("/")[-1]
        (media,) = document["components"]["responses"][reference]["content"].values()
        return dict(document["components"]["schemas"][media["schema"]["$ref"].split("/")[-1]])

    assert set(shape("/v1/runs/{run_id}", "get", "404")["required"]) == {"code", "message", "trace_id"}
    assert shape("/api/ingest", "post", "422")["required"] == ["message"]
    assert shape("/api/ingest", "post", "422")["properties"]["message"]["description"]
    assert set(shape("/api/v1/runs", "get", "401")["required"]) >= {"type", "title", "status", "detail"}


async def test_bodies_are_asked_for_where_they_are_needed(document: dict[str, Any]) -> None:
    def body(path: str) -> Any:
        return document["paths"][path]["post"].get("requestBody")

    assert body("/api/ingest")["required"] is True
    assert body("/v1/threads/{thread_id}/runs")["required"] is False
    assert set(body("/broadcasting/auth")["content"]) == {"application/x-www-form-urlencoded"}
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
            (shown,) = operation["responses"][good]["content"].values()
            assert shown["example"], (method, path)
            if operation.get("requestBody"):
                assert operation["requestBody"]["content"]["application/json"]["example"], (method, path)


def refusals_of(document: dict[str, Any], path: str, method: str = "get") -> dict[str, dict[str, Any]]:
    """Status → the response of a refusal."""
    found = document["paths"][path][method]["responses"]
    known = document["components"]["responses"]
    return {status: known[one["$ref"].split("/")[-1]] for status, one in found.items() if "$ref" in one}


async def test_a_refusal_says_in_words_what_it_may_mean(document: dict[str, Any]) -> None:
    said = {name: one["description"] for name, one in document["components"]["responses"].items()}
    assert all(words.endswith(".") for words in said.values())
    busy = refusals_of(document, "/v1/threads/{thread_id}/runs", "post")["409"]
    assert "The thread has a run that has not ended." in busy["description"]
    (media,) = busy["content"].values()
    assert media["examples"]["thread_busy"]["value"]["code"] == "runs.thread_busy", "the very body that is sent"


async def test_an_operation_has_the_refusals_of_its_endpoint_alone(document: dict[str, Any]) -> None:
    listed = refusals_of(document, "/v1/runs")
    assert set(listed) == {"400", "401", "403", "414", "421", "422", "500", "503"}
    assert "Retry-After" in listed["503"]["headers"]
    assert "thread_busy" not in str(refusals_of(document, "/v1/threads", "post"))
    assert set(refusals_of(document, "/healthz")) == {"421"}
    assert "429" in refusals_of(document, "/api/ingest", "post")


def fields(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, component in document["components"]["schemas"].items():
        for field, schema in component.get("properties", {}).items():
            yield f"{name}.{field}", schema


def schemas_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema below a schema, itself included."""
    if isinstance(value, dict):
        yield value
        for word in ("properties", "$defs"):
            for one in value.get(word, {}).values():
                yield from schemas_in(one)
        for word in ("items", "additionalProperties"):
            yield from schemas_in(value.get(word))
        for one in value.get("anyOf", ()):
            yield from schemas_in(one)


async def test_every_field_has_a_description_and_an_example(document: dict[str, Any]) -> None:
    described = [name for name, schema in fields(document) if not schema.get("description")]
    assert described == [], "say what it means, in `Annotated[…, v.said(…)]` or below the field"
    shown = [name for name, schema in fields(document) if "examples" not in schema]
    assert shown == [], "give it an example, in `Annotated[…, v.said(…, example)]`"
    assert len(list(fields(document))) > 400


async def test_every_operation_and_parameter_has_a_description_and_an_example(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert operation["description"].endswith("."), path
        assert operation["summary"], path
        for parameter in operation["parameters"]:
            assert parameter["description"], (path, parameter["name"])
            assert "example" in parameter, (path, parameter["name"])
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [one for status, one in operation["responses"].items() if status in {"200", "201"}]
        for body in bodies:
            for type_, media in body.get("content", {}).items():
                assert "example" in media or type_ in {"application/x-ndjson", "application/x-protobuf"}, (
                    method,
                    path,
                    type_,
                )


async def test_an_object_of_which_nothing_is_known_may_have_any_member(document: dict[str, Any]) -> None:
    for name, component in document["components"]["schemas"].items():
        for schema in schemas_in(component):
            if "object" in schema.get("type", ()):
                assert "properties" in schema or "additionalProperties" in schema, (name, schema)
            if "array" in schema.get("type", ()):
                assert "items" in schema, (name, schema)


async def test_times_money_and_words_have_formats_types_and_lists(document: dict[str, Any]) -> None:
    known = document["components"]["schemas"]
    run = known["RunDetail"]["properties"]
    assert run["created_at"]["format"] == run["started_at"]["format"] == "date-time"
    assert run["run_id"]["format"] == "uuid"
    assert run["total_cost_usd"]["type"] == ["number", "null"]
    assert {"running", "waiting_for_input", "budget_exceeded"} <= {*run["status"]["enum"]}
    assert known["SdkEvent"]["properties"]["payload"]["additionalProperties"] is True
    for name, schema in fields(document):
        # A fraction of an amount, not a time.
        if name.endswith(("_at", ".timestamp", ".ts", "last_heartbeat")) and not name.endswith(".warn_at"):
            # A sender's own time is taken in any form that can be read.
            senders = name == "SentEvent.timestamp" or name.endswith(".occurred_at")
            if name in ("AguiStart.timestamp", "AguiEvent.timestamp"):  # AG-UI has milliseconds
                continue
            assert senders or "date-time" in str(schema), name
        if name.endswith(("_usd", ".usd")):
            assert "number" in str(schema.get("type")), name


async def test_the_words_of_a_status_are_those_that_are_sent(document: dict[str, Any]) -> None:
    assert {status.value for status in Status} == {
        *document["components"]["schemas"]["RunDetail"]["properties"]["status"]["enum"]
    }


async def test_a_stream_is_text_and_says_what_its_frames_are(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/runs/{run_id}/events"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"text/event-stream"}
    assert [one["$ref"].split("/")[-1] for one in content["text/event-stream"]["schema"]["contentSchema"]["anyOf"]] == [
        "FrameData",
        "DeltaData",
        "TimedData",
    ]
    feed = document["paths"]["/agents/{id}/events"]["get"]["responses"]["200"]["content"]
    assert feed["text/event-stream"]["schema"]["contentSchema"] == {"$ref": "#/components/schemas/FeedEvent"}
    for stream in (content["text/event-stream"], feed["text/event-stream"]):
        assert stream["schema"]["type"] == "string"
        assert stream["example"].startswith("data: {")
    names = [one["name"] for one in document["paths"]["/agents/{id}/events"]["get"]["parameters"]]
    assert {"Last-Event-ID", "ticket"} <= {*names}


async def test_the_server_is_named(app: App) -> None:
    assert build_document(app.table)["servers"][0]["url"] == "/"
    assert build_document(app.table, "https://t.example")["servers"][0]["url"] == "https://t.example"


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


async def test_a_description_says_more_than_its_summary(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        assert not operation["description"].startswith(operation["summary"]), path


async def test_descriptions_speak_json(document: dict[str, Any]) -> None:
    """A docstring that is shown to clients says null where the code says None."""
    text = json.dumps(document)
    assert not re.findall(r"[^\"]{0,40}\bNone\b[^\"]{0,40}", text)


async def test_a_number_in_a_query_has_its_bounds(document: dict[str, Any]) -> None:
    found = {}
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            if parameter["in"] == "query" and schema.get("type") == "integer":
                found[method, path, parameter["name"]] = (schema.get("minimum"), schema.get("maximum"))
    assert found["get", "/v1/runs", "limit"] == (1, 200)
    assert found["get", "/api/v1/runs/{run_id}/events", "limit"] == (1, 1000)
    # `tail` alone is brought within its bounds.
    assert [at for at, (least, _) in found.items() if least is None and at[2] != "tail"] == []


async def test_it_is_made_once_however_many_ask_before_it_is_there(
    app: App, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    pages = static.StaticPages()
    pages.attach(app.table, "/")

    def build(*arguments: Any) -> dict[str, Any]:
        made.append(arguments)
        return document

    monkeypatch.setattr(static, "build_document", build)
    visit = PageVisit({}, {}, True, 0, None)
    replies = await asyncio.gather(*(pages.openapi(visit) for _ in range(50)))
    assert (len(made), len({reply.body for reply in replies})) == (1, 1)
