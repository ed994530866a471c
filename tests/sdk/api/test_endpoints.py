"""The client knows every endpoint of the native API and of `runs`, and none that is not there."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import msgspec
import pytest

from tests.support.tables import table
from towerlog.dialects import DIALECTS
from towerlog.dialects.native import NATIVE
from towerlog.sdk.api import cursors, endpoints
from towerlog.sdk.api.alerts import endpoints as alert_endpoints
from towerlog.sdk.api.async_client import AsyncClient
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.members import endpoints as member_endpoints
from towerlog.sdk.api.requests import FILTERS
from towerlog.sdk.api.retention import endpoints as retention_endpoints

SAME_AS_NATIVE = {("GET", "/v1/threads"), ("GET", "/v1/threads/{thread_id}")}
"""What the native API answers with the same shape and more."""
SAME_AS_RUNS = {("POST", "/api/v1/runs/{run_id}:cancel")}
"""What `runs` does as well."""
FOR_OTHERS = {("GET", "/v1/runs/{run_id}/agui")}
"""What clients of other protocols read: those of AG-UI."""
OTHERS = {
    ("GET", "/api/v1/whoami"),
    ("GET", "/agents/{id}/events"),
}
"""Of the pages and of other dialects."""


def spoken() -> set[tuple[str, str]]:
    """Method and template of every call in the source."""
    found: set[tuple[str, str]] = set()
    for module in (endpoints, alert_endpoints, member_endpoints, retention_endpoints, cursors):
        tree = ast.parse(Path(module.__file__).read_text())
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            words = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            paths = [word for word in words if word.startswith("/")]
            if paths:
                method = words[0] if words[0].isupper() else "GET"
                found.add((method, paths[0]))
        found |= {
            ("GET", node.value.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and str(node.value.value).startswith("/")
        }
    return found


def served(*dialects: object) -> set[tuple[str, str]]:
    return {(endpoint.method, endpoint.path) for dialect in dialects for endpoint in dialect.endpoints}  # type: ignore[attr-defined]


def test_every_endpoint_is_spoken_and_every_spoken_one_is_served() -> None:
    [runs] = [dialect for dialect in DIALECTS if dialect.name == "runs"]
    assert served(NATIVE, runs) - SAME_AS_NATIVE - SAME_AS_RUNS - FOR_OTHERS <= spoken()
    assert spoken() <= served(NATIVE, *DIALECTS) | {("GET", "/api/v1/whoami")}
    assert spoken() >= OTHERS


def methods(kind: type) -> dict[str, inspect.Signature]:
    known = {name: value for base in kind.__mro__[:-1] for name, value in vars(base).items() if callable(value)}
    own = {name: inspect.signature(value) for name, value in known.items()}
    return {name: signature for name, signature in own.items() if not name.startswith("_")}


def test_the_twins_have_the_same_methods_with_the_same_arguments() -> None:
    plain, asynchronous = methods(Client), methods(AsyncClient)
    assert plain.keys() == asynchronous.keys()
    for name, signature in plain.items():
        assert signature.parameters == asynchronous[name].parameters, name


@table("name", sorted(methods(Client)))
def test_every_method_of_the_twins_is_explained(name) -> None:
    assert inspect.getdoc(getattr(Client, name))
    assert inspect.getdoc(getattr(AsyncClient, name))


def test_a_wait_is_added_to_the_time_that_a_reply_may_take() -> None:
    assert endpoints.send_events("c", [], None, 20).wait_s == 20
    assert endpoints.report_run("r", "w", 1, wait_seconds=30).wait_s == 30
    assert endpoints.send_events("c", [], None, None).wait_s == 0


QUERIES = {
    "runs": ("/api/v1/runs", "/api/v1/run-facets", "/api/v1/run-durations", "/api/v1/run-sums"),
    "rows": ("/v1/runs",),
    "usage": ("/api/v1/usage",),
    "audit": ("/api/v1/audit",),
    "holds": ("/api/v1/budgets/reservations",),
    "alerts": ("/api/v1/alerts",),
    "deliveries": ("/api/v1/deliveries",),
}
PAGING = {"limit", "cursor", "before", "by", "include"}


def test_the_filters_of_the_clients_are_those_of_the_server() -> None:
    [runs] = [dialect for dialect in DIALECTS if dialect.name == "runs"]
    queries = {one.path: one.query for dialect in (NATIVE, runs) for one in dialect.endpoints if one.method == "GET"}
    for of, paths in QUERIES.items():
        for path in paths:
            served = {field.name for field in msgspec.structs.fields(queries[path])}
            assert served - PAGING == set(FILTERS[of]), path
    assert set(QUERIES) == set(FILTERS)


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_filter_that_does_not_exist_is_a_value_error_that_names_it(client: type[Client] | type[AsyncClient]) -> None:
    made = client("http://127.0.0.1:9", "k")
    for wrong in ("limit", "agnt"):
        for listed in (made.list_runs, made.list_run_rows, made.list_usage, made.list_audit, made.list_reservations):
            with pytest.raises(ValueError, match=wrong):
                listed(**{wrong: 2})
        for listed in (made.list_alerts, made.list_deliveries):
            with pytest.raises(ValueError, match=wrong):
                listed(**{wrong: 2})
    with pytest.raises(ValueError, match="islice"):
        made.list_runs(limit=2)
