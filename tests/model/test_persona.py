"""Personas and routes: ids, and when two versions say the same."""

from __future__ import annotations

import msgspec
import pytest

from towerlog.model.persona import Budget, Persona, ProviderRoute, split_persona_id

PERSONA = Persona(1, "writer", "2", "agent", 5, "Be kind.", msgspec.Raw(b'{"a":1,"b":[1.50]}'), ("x",), Budget(7, 8))
ROUTE = ProviderRoute(1, "fast", 1, "p", "m", 5, "https://x", "KEY")


def test_an_id_is_key_and_version() -> None:
    assert PERSONA.persona_id == "writer@2"
    assert split_persona_id("writer@2") == ("writer", "2")
    assert split_persona_id("writer") == ("writer", None)
    assert split_persona_id("writer@") == ("writer", "")


@pytest.mark.parametrize(
    "changed",
    [
        {"agent": "b"},
        {"instructions": None},
        {"model_settings": msgspec.Raw(b'{"a":true,"b":[1.5]}')},
        {"model_settings": msgspec.Raw(b'{"a":1,"b":[1.5,2]}')},
        {"tools": None},
        {"tools": ()},
        {"budget": None},
        {"budget": Budget(7)},
    ],
)
def test_another_content_says_something_else(changed) -> None:
    assert not PERSONA.has_same_content(msgspec.structs.replace(PERSONA, **changed))


def test_the_same_content_may_be_spelt_and_dated_otherwise() -> None:
    spelt = msgspec.Raw(b'{ "b": [1.5], "\\u0061": 1 }')
    assert PERSONA.has_same_content(msgspec.structs.replace(PERSONA, model_settings=spelt, created_at=9, number=4))


@pytest.mark.parametrize(
    ("field", "value"), [("provider", "q"), ("model", "n"), ("base_url", None), ("key_env", "OTHER")]
)
def test_a_route_is_all_of_its_content(field, value) -> None:
    assert ROUTE.has_same_content(msgspec.structs.replace(ROUTE, version=9, created_at=9))
    assert not ROUTE.has_same_content(msgspec.structs.replace(ROUTE, **{field: value}))
