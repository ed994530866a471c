"""The examples of the native API are what its types decode and encode: none of them has grown old."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tests.support.tables import table
from towerlog.asgi.pages.schemas import Schema, Schemas
from towerlog.dialects.base import Call, DialectSettings, Endpoint
from towerlog.dialects.native import NATIVE
from towerlog.dialects.native.samples import LEASE, RUN, RUN_ID, SAMPLES
from towerlog.dialects.native.shapes import RunTree
from towerlog.model.command import Append, Report
from towerlog.model.event import Refusal
from towerlog.model.principal import Principal, Scope

PATH = {
    **dict.fromkeys(("alert_id", "budget_id", "delivery_id", "price_id", "rule_id", "run_id", "user_id"), RUN_ID),
    "approval_id": f"{RUN_ID}.q4",
    "kind": "deltas",
}
ENDPOINTS = {endpoint.name: endpoint for endpoint in NATIVE.endpoints}


def differences(value: Any, schema: Schema, schemas: Schemas, where: str = "$") -> Iterator[str]:
    """In what a JSON value is not what a schema of ours says, members that it does not know included."""
    schema = schemas.resolved(schema)
    if "anyOf" in schema:
        if all(any(differences(value, one, schemas)) for one in schema["anyOf"]):
            yield f"{where}: none of {schema['anyOf']}"
    elif "enum" in schema:
        if value not in schema["enum"]:
            yield f"{where}: not in {schema['enum']}"
    elif "type" in schema and kind_of(value) not in kinds_of(schema):
        yield f"{where}: {value!r} is no {schema['type']}"
    elif "properties" in schema:
        known, needed = set(schema["properties"]), set(schema["required"])
        yield from (f"{where}.{name}" for name in (set(value) - known) | (needed - set(value)))
        for name in known & set(value):
            yield from differences(value[name], schema["properties"][name], schemas, f"{where}.{name}")
    elif "items" in schema and value is not None:
        for item in value:
            yield from differences(item, schema["items"], schemas, f"{where}[]")


def kinds_of(schema: Schema) -> list[str]:
    """The kinds of value that a schema names; an integer is a number too."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return [*kinds, "integer"] if "number" in kinds else kinds


def kind_of(value: object) -> str:
    """The word of JSON Schema for it."""
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return "null" if value is None else kinds[type(value)]


def test_every_endpoint_has_one_and_there_are_no_others() -> None:
    assert set(SAMPLES) == set(ENDPOINTS)


@table("endpoint", NATIVE.endpoints, ids=lambda endpoint: endpoint.name)
def test_a_reply_is_of_the_type_that_encodes_it(endpoint: Endpoint) -> None:
    assert endpoint.sample is not None
    shown = endpoint.reply or endpoint.frames[0]
    schemas = Schemas([shown])
    assert list(differences(endpoint.sample.reply, schemas.of(shown), schemas)) == []


def test_a_reply_that_has_grown_old_is_noticed() -> None:
    schemas = Schemas([RunTree])
    schema = schemas.of(RunTree)
    good = {**RUN, "unserved": False, "busy_worker": None, "children": []}
    assert list(differences(good, schema, schemas)) == []
    short = {name: value for name, value in good.items() if name != "liveness"}
    strange = {**good, "lane": {**LEASE, "colour": "red"}}
    for bad in (short, {**good, "mood": "fine"}, {**good, "attempt": "1"}, strange):
        assert list(differences(bad, schema, schemas))


@table("endpoint", NATIVE.endpoints, ids=lambda endpoint: endpoint.name)
def test_a_request_is_one_that_is_taken(endpoint: Endpoint) -> None:
    assert endpoint.sample is not None
    assert (endpoint.sample.request is None) == (endpoint.request is None)
    if endpoint.sample.request is None:
        return
    body = msgspec.json.encode(endpoint.sample.request)
    known = {field.encode_name for field in msgspec.structs.fields(endpoint.request)}
    assert set(endpoint.sample.request) <= known
    principal = Principal(org=1, org_id="o", user_id="u", key_id="k", scopes=frozenset(Scope))
    call = Call(principal, PATH, {}, {}, body, DialectSettings(), "0" * 32, 0)
    command = endpoint.decode(call)
    if isinstance(command, Append | Report):
        refused = [isinstance(item, Refusal) for item in command.items]
        results = endpoint.sample.reply["results"]
        assert refused == [one["status"] == "refused" for one in results]


def test_a_run_looks_alike_wherever_it_is_shown() -> None:
    for name in ("pause_run", "kill_run", "get_run", "retry_run"):
        assert set(RUN) <= set(SAMPLES[name].reply)
