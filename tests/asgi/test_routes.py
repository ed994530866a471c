"""The route table: exact paths, parameters, actions, ambiguity, and what does not start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from towerlog import errors
from towerlog.asgi.faults import Rejection
from towerlog.asgi.routes import (
    MAX_REMEMBERED_BYTES,
    MAX_REMEMBERED_PATHS,
    BadRoute,
    PageRoute,
    PageVisit,
    RouteTable,
)
from towerlog.dialects import DIALECTS
from towerlog.dialects.base import Dialect, Endpoint, Reply, scopes
from towerlog.dialects.native import NATIVE
from towerlog.dialects.native.problems import explain
from towerlog.model.principal import Scope


def endpoint(method: str, path: str, *allowed: Scope) -> Endpoint:
    wanted = scopes(*(allowed or (Scope.READ,)))
    return Endpoint(method, path, f"{method} {path}", "", wanted, lambda call: None, lambda out, call: Reply(200, b""))  # type: ignore[arg-type,return-value]


def dialect(*paths: str, name: str = "d") -> Dialect:
    return Dialect(name, name, tuple(endpoint(*path.split(" ")) for path in paths), explain)


def table(*paths: str) -> RouteTable:
    return RouteTable([dialect(*paths)], [], NATIVE)


async def answer(visit: PageVisit) -> Reply:
    return Reply(200, b"")


def found(routes: RouteTable, method: str, path: str) -> tuple[str, Mapping[str, str]]:
    route, parameters = routes.find(method, path.encode("latin-1"))
    return route.declared.path, parameters


RUNS = (
    "GET /v1/runs",
    "GET /v1/runs/{run_id}",
    "POST /v1/runs/{run_id}:cancel",
    "POST /v1/runs/{run_id}/input",
    "GET /v1/runs/newest",
    "GET /v1/threads/{thread_id}/runs",
    "POST /v1/threads/{thread_id}/runs",
    "POST /approvals/{trace_id}/{step}/approve",
)


@pytest.mark.parametrize(
    ("method", "path", "expected", "parameters"),
    [
        ("GET", "/v1/runs", "/v1/runs", {}),
        ("HEAD", "/v1/runs", "/v1/runs", {}),
        ("GET", "/v1/runs/abc", "/v1/runs/{run_id}", {"run_id": "abc"}),
        ("GET", "/v1/runs/newest", "/v1/runs/newest", {}),
        ("POST", "/v1/runs/abc:cancel", "/v1/runs/{run_id}:cancel", {"run_id": "abc"}),
        ("POST", "/v1/runs/abc%3Acancel", "/v1/runs/{run_id}:cancel", {"run_id": "abc"}),
        ("POST", "/v1/runs/abc%3acancel", "/v1/runs/{run_id}:cancel", {"run_id": "abc"}),
        ("GET", "/v1/threads/a%3Ab/runs", "/v1/threads/{thread_id}/runs", {"thread_id": "a:b"}),
        ("POST", "/v1/runs/abc/input", "/v1/runs/{run_id}/input", {"run_id": "abc"}),
        ("GET", "/v1/threads/a:b/runs", "/v1/threads/{thread_id}/runs", {"thread_id": "a:b"}),
        ("GET", "/v1/threads/a%20b%25c/runs", "/v1/threads/{thread_id}/runs", {"thread_id": "a b%c"}),
        ("GET", "/v1/threads/%D0%BF/runs", "/v1/threads/{thread_id}/runs", {"thread_id": "п"}),
        ("GET", "/v1/threads/%ff/runs", "/v1/threads/{thread_id}/runs", {"thread_id": "�"}),
        ("GET", "/v1/threads/%00/runs", "/v1/threads/{thread_id}/runs", {"thread_id": "\x00"}),
        ("POST", "/approvals/t/7/approve", "/approvals/{trace_id}/{step}/approve", {"trace_id": "t", "step": "7"}),
    ],
)  # fmt: skip
def test_a_path_finds_its_route(method: str, path: str, expected: str, parameters: dict[str, str]) -> None:
    assert found(table(*RUNS), method, path) == (expected, parameters)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/", "/v1", "/", "", "/v1/runs/a/b/c", "/V1/runs", "/v1/runs/abc:pause", "/v1/runs/abc:",
        "/v1/runs/:cancel", "/v1/runs/abc:cancel2", "/v1/runs/abc:Cancel", "/v1/runs/a:b:cancel", "/v1/runs%20",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_leads_nowhere(method: str, path: str) -> None:
    with pytest.raises((errors.NotFound, Rejection)):
        table(*RUNS).find(method, path.encode())


@pytest.mark.parametrize(
    "path",
    [
        "/v1//runs", "//v1/runs", "/v1/runs//", "/v1/threads/../runs", "/v1/./runs", "/v1/runs/..", "/v1/runs/.",
        "/v1/threads/a%2fb/runs", "/v1/threads/a%2Fb/runs", "/v1/threads/a;b/runs", "/v1/runs;x=1",
        "/v1/threads/%2e%2e/runs", "/v1/threads/%2E./runs", "/v1/threads/.%2e/runs",
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused(path: str) -> None:
    with pytest.raises(Rejection, match="ambiguous") as caught:
        table(*RUNS).find("GET", path.encode())
    assert caught.value.status == 400


def test_a_path_that_is_too_long_is_a_414() -> None:
    with pytest.raises(Rejection) as caught:
        table(*RUNS).find("GET", b"/v1/runs/" + b"a" * 9000)
    assert caught.value.status == 414


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/runs", b"GET, HEAD"),
        ("PUT", "/v1/threads/t/runs", b"GET, HEAD, POST"),
        ("GET", "/v1/runs/x:cancel", b"POST"),
        ("HEAD", "/v1/runs/x/input", b"POST"),
        ("BREW", "/v1/runs/x", b"GET, HEAD"),
    ],
)
def test_another_method_is_a_405_that_says_which(method: str, path: str, allowed: bytes) -> None:
    with pytest.raises(Rejection) as caught:
        table(*RUNS).find(method, path.encode())
    assert caught.value.status == 405
    assert caught.value.error.code == "method_not_allowed"
    assert caught.value.headers == ((b"allow", allowed),)


def test_a_route_without_a_scope_does_not_start() -> None:
    naked = Endpoint("GET", "/x", "x", "", frozenset(), lambda call: None, lambda out, call: Reply(200, b""))  # type: ignore[arg-type,return-value]
    with pytest.raises(BadRoute, match="no scope"):
        RouteTable([Dialect("d", "d", (naked,), explain)], [], NATIVE)
    with pytest.raises(BadRoute, match="no scope"):
        RouteTable([], [PageRoute("GET", "/x", "x", "", answer)], NATIVE)
    RouteTable([], [PageRoute("GET", "/x", "x", "", answer, public=True)], NATIVE)


@pytest.mark.parametrize(
    "paths",
    [
        ("GET /a", "GET /a"),
        ("GET /a/{x}", "GET /a/{y}"),
        ("GET /a/{x}:go", "GET /a/{y}:go"),
        ("GET a",),
        ("GET /a/{}",),
        ("GET /a/{x}go",),
        ("GET /a/{x-y}",),
    ],
)
def test_a_table_that_cannot_be_read_in_one_way_does_not_start(paths: tuple[str, ...]) -> None:
    with pytest.raises(BadRoute):
        table(*paths)


def test_the_owner_of_a_path_is_who_has_most_of_it() -> None:
    first, second = dialect("GET /v1/runs/{x}", name="runs"), dialect("POST /v1/runners/events", name="runners")
    routes = RouteTable([first, second], [], NATIVE)
    expected = {
        "/v1/runs/a/b": "runs", "/v1/runs": "runs", "/v1/runners/none": "runners", "/v1/none": "native",
        "/v1": "native", "/": "native", "": "native", "/v1/runs/../x": "runs",
    }  # fmt: skip
    assert {path: routes.owner(path.encode()).name for path in expected} == expected


def test_whose_a_path_is_takes_no_longer_for_a_long_one() -> None:
    class Counted(dict[bytes, Any]):
        asked = 0

        def __contains__(self, key: object) -> bool:
            self.asked += 1
            return super().__contains__(key)

    routes = RouteTable([dialect("GET /v1/runs/{x}", name="runs")], [], NATIVE)
    routes._owners = owners = Counted(routes._owners)
    assert routes.owner(b"/v1/runs" + b"/a" * 30_000).name == "runs"
    assert routes.owner(b"/a" * 30_000).name == "native"
    assert owners.asked < 10


def test_the_real_table_is_whole_and_every_route_is_found_again() -> None:
    routes = RouteTable((*DIALECTS, NATIVE), [], NATIVE)
    assert len(list(routes)) > 40
    for route in routes:
        declared: Any = route.declared
        path = declared.path
        for name in (
            "{run_id}",
            "{thread_id}",
            "{id}",
            "{agent_id}",
            "{key_id}",
            "{checkpoint_id}",
            "{trace_id}",
            "{step_index}",
        ):
            path = path.replace(name, "7")
        again, _ = routes.find(declared.method, path.encode())
        assert again is route, path
        assert route.scopes >= {Scope.ADMIN}


def test_remembered_paths_are_bounded_and_a_refused_path_is_not_remembered() -> None:
    routes = table("POST /runs/{id}/events")
    path = b"/runs/%032d/events"
    for number in range(MAX_REMEMBERED_PATHS + 10):
        assert routes.find("POST", path % number)[1] == {"id": f"{number:032d}"}
    assert len(routes._remembered) <= MAX_REMEMBERED_PATHS
    before = len(routes._remembered)
    with pytest.raises(errors.NotFound):
        routes.find("POST", b"/nowhere/at/all")
    with pytest.raises(Rejection):
        routes.find("PUT", path % 1)
    routes.find("POST", b"/runs/" + b"a" * MAX_REMEMBERED_BYTES + b"/events")
    assert len(routes._remembered) == before
