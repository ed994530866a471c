"""Personas and routes over the native API: every wrong field is named, and nothing that looks like a key gets in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.native.feeds import pages_of
from tests.support.tables import table

PERSONA = {"persona_key": "writer", "version": "1", "agent": "a"}
ROUTE = {"route_id": "fast", "provider": "p", "model": "m"}

WRONG_PERSONAS: list[tuple[str, Any]] = [
    *[(name, value) for name in PERSONA for value in [None, "", 7, "a/b", "a\x00", "x" * 201]],
    ("persona_key", "a@1"),
    ("persona_key", "x" * 121),
    ("version", "@"),
    ("version", "x" * 65),
    ("instructions", 7),
    ("instructions", "x" * (64 * 1024 + 1)),
    *[("model_settings", value) for value in [[], "x", 7, True, {"a": "x" * 70_000}]],
    *[("tools", value) for value in ["x", {}, [""], ["a/b"], [7], ["x" * 201], ["x"] * 257]],
    *[("budget", value) for value in [7, "x", [1]]],
    ("budget.euro", {"euro": 1}),
    *[("budget.usd", {"usd": value}) for value in ["1", -1, -0.5, True, [], 1e99]],
    *[("budget.tokens", {"tokens": value}) for value in ["1", -1, 1.5, True, 2**63]],
]
WRONG_ROUTES: list[tuple[str, Any]] = [
    *[(name, value) for name in ROUTE for value in [None, "", 7, "a\x00", "x" * 201]],
    ("route_id", "fast@1"),
    ("route_id", "a/b"),
    ("provider", "a/b"),
    *[
        ("base_url", value)
        for value in [
            7,
            "api.example.com",
            "ftp://api.example.com",
            "https://",
            "https://:443",
            "https://me@api.example.com",
            "https://me:secret@api.example.com/v1",
            "https://@api.example.com",
            "https://api.example.com/#x",
            "https://api.example.com/#",
            "https://api.example.com/?key=secret",
            "https://api.example.com:99999",
            "https://[::1",
            "https://api.example.com\\@evil.example",
            " https://api.example.com",
            "https://api.example.com/\n",
            "https://\u00e4.example",
            "javascript:alert(1)",
            "https://api.example.com/" + "x" * 2000,
            "https://api.example.com/sk-live-0123456789abcdef",
        ]
    ],
    *[
        ("key_env", value)
        for value in [7, "lower", "1KEY", "MY-KEY", "KEY ", "KEY\n", "$KEY", "sk-live-0123456789abcdef", "K" * 129]
    ],
    ("model", "Bearer 0123456789abcdef0123"),
    ("provider", "ghp_0123456789abcdef0123456789abcdef"),
]


@table("field, value", WRONG_PERSONAS, ids=lambda value: str(value)[:20])
async def test_a_wrong_field_of_a_persona_is_named(say: Any, field: str, value: Any) -> None:
    reply = await say("POST", "/api/v1/personas", value={**PERSONA, field.partition(".")[0]: value})
    assert reply.status in (413, 422), reply.body
    assert [name.partition(".")[0] for name in reply.json["errors"]] == [field.partition(".")[0]]
    assert field.partition(".")[0] in reply.json["detail"]
    assert (await say("GET", "/api/v1/personas")).json["data"] == []


@table("field, value", WRONG_ROUTES, ids=lambda value: str(value)[:20])
async def test_a_wrong_field_of_a_route_is_named_and_never_shown(say: Any, field: str, value: Any) -> None:
    reply = await say("POST", "/api/v1/routes", value={**ROUTE, field: value})
    assert reply.status == 422, reply.body
    assert list(reply.json["errors"]) == [field]
    assert b"secret" not in reply.body
    assert b"0123456789abcdef" not in reply.body, "a refusal must not repeat what may be a key"
    assert (await say("GET", "/api/v1/routes")).json["data"] == []


@pytest.mark.parametrize("name", [*PERSONA])
async def test_what_is_missing_is_named(say: Any, name: str) -> None:
    reply = await say("POST", "/api/v1/personas", value={key: value for key, value in PERSONA.items() if key != name})
    assert (reply.status, reply.json["errors"]) == (422, {name: "is required"})


@pytest.mark.parametrize("name", [*ROUTE])
async def test_what_is_missing_of_a_route_is_named(say: Any, name: str) -> None:
    reply = await say("POST", "/api/v1/routes", value={key: value for key, value in ROUTE.items() if key != name})
    assert (reply.status, reply.json["errors"]) == (422, {name: "is required"})


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "http://127.0.0.1:8080"},
        {"base_url": "https://[::1]:8080/v1"},
        {"base_url": "https://xn--4ca.example/v1/"},
        {"base_url": "", "key_env": ""},
        {"base_url": None, "key_env": None},
        {"key_env": "_"},
        {"key_env": "AZURE_OPENAI_KEY_2"},
        {"model": "openai/gpt-4o-mini-2024-07-18"},
        {"model": "sk-tuned"},
    ],
)
async def test_what_is_right_is_taken_as_it_is(say: Any, fields: dict[str, str | None]) -> None:
    reply = await say("POST", "/api/v1/routes", value={**ROUTE, **fields})
    assert reply.status == 201, reply.body
    for name, value in fields.items():
        assert reply.json[name] == (value or None)


async def test_settings_and_money_come_back_as_they_were_sent(say: Any) -> None:
    settings = b'{"z": 1.50, "a": {"n": 12345678901234567890}}'
    body = (
        b'{"persona_key":"writer","version":"1","agent":"a","budget":{"usd":0.10},"tools":[],"model_settings":%s}'
        % settings
    )
    reply = await say("POST", "/api/v1/personas", body=body)
    assert reply.status == 201, reply.body
    assert settings in reply.body
    assert (reply.json["budget"], reply.json["tools"]) == ({"usd": 0.1, "tokens": None}, [])
    empty = await say("POST", "/api/v1/personas", value={**PERSONA, "version": "2", "budget": {}})
    assert (empty.json["budget"], empty.json["tools"]) == (None, None)


async def test_lists_are_paged_to_a_full_last_page(say: Any) -> None:
    for number in range(4):
        await say("POST", "/api/v1/personas", value={**PERSONA, "version": str(number)})
        await say("POST", "/api/v1/routes", value={**ROUTE, "model": str(number)})
    pages = await pages_of(say, "/api/v1/personas", limit=2)
    assert [[row["version"] for row in page] for page in pages] == [["3", "2"], ["1", "0"]]
    pages = await pages_of(say, "/api/v1/routes", limit=2)
    assert [[row["version"] for row in page] for page in pages] == [[4, 3], [2, 1]]


@pytest.mark.parametrize("noun", ["personas", "routes"])
@pytest.mark.parametrize("query", ["limit=0", "limit=201", "cursor=x", "cursor=a2V5czox"])
async def test_a_wrong_query_is_named(say: Any, noun: str, query: str) -> None:
    reply = await say("GET", f"/api/v1/{noun}?{query}")
    assert (reply.status, list(reply.json["errors"])) == (422, [query.partition("=")[0]])


@pytest.mark.parametrize(
    "path", ["personas/" + "x" * 201, "personas/writer@", "personas/@1", "routes/%00", "routes/x@1"]
)
async def test_what_cannot_be_there_is_not_found(say: Any, path: str) -> None:
    await say("POST", "/api/v1/personas", value=PERSONA)
    assert (await say("GET", f"/api/v1/{path}")).status == 404
