"""Whatever the OpenAPI document allows, and much that it does not, is answered in time and as the document says.

Never with a 5xx. What the server is asked here it may well do: it has a server of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from tests.acceptance.feeds import checkpoint_ids, container_event, create_run, held_run, push, snapshot, started
from tests.acceptance.routes import ROUTES, shape_of
from tests.support.senders import save_batch
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server

EXAMPLES = [5, pytest.param(20, marks=pytest.mark.slow)]
"""Of each operation."""
REPLY_DEADLINE_S = 60.0
FOLLOWED = {("GET", "/agents/{}/events"), ("GET", "/v1/runs/{}/events"), ("GET", "/api/v1/live")}
"""What may be a stream without an end; asked here for what there is."""
ENDS_WITH_ITS_RUN = ("GET", "/v1/runs/{}/agui")
"""A stream that is asked here of a run that has ended."""

OPERATIONS = sorted(route for route in ROUTES if not route[1].endswith(":{}"))
"""What the document names; a word that is no action is none of it."""
TRIED = [
    pytest.param(route, marks=() if place % 3 == 0 else pytest.mark.slow) for place, route in enumerate(OPERATIONS)
]
"""The quick tier has every third: what takes long is that requests are made up of what the document says of each."""

Case = schemathesis.Case


@dataclass(frozen=True)
class Fuzzed:
    """The server that is asked, its operations by method and shape of path, and ids of things that it has."""

    server: Server
    operations: dict[tuple[str, str], Any]
    session: requests.Session
    ids: dict[str, list[str]]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    """A server of its own: what is sent here claims, cancels and revokes whatever it hits."""
    server = Server(tmp_path_factory.mktemp("fuzzed") / "data", NO_LIMITS)
    session = requests.Session()
    try:
        server.start()
        document = server.client().get("/openapi.json").json()
        found = schemathesis.openapi.from_dict(document)
        operations = {
            (op.method.upper(), shape_of(op.path)): op for op in (one.ok() for one in found.get_all_operations())
        }
        yield Fuzzed(server, operations, session, known_ids(server))
        server.stop()
    finally:
        session.close()
        server.close()


def known_ids(server: Server) -> dict[str, list[str]]:
    """Something of every kind, by the names of the parameters that stand for it."""
    client = server.client()
    held = held_run(client, "fuzzed", "fuzzed-worker")
    queued = create_run(client, "fuzzed")["run_id"]
    agent = client.post("/api/v1/agents", json={"name": "fuzzed-agent"}).json()["agent_id"]
    push(client, agent, container_event())
    history = [{"role": "user", "content": "hello"}]
    save_batch(client, started("fuzzed-thread", "fuzzed-trace"), snapshot("fuzzed-thread", "fuzzed-trace", 1, history))
    saved = client.get("/v1/threads/fuzzed-thread/runs").json()[0]["run_id"]
    key = server.create_key("read")["key_id"]
    ended = create_run(client, "fuzzed-ended")["run_id"]
    client.post(f"/api/v1/runs/{ended}:kill", json={})
    return {
        "ended": [ended],
        "run_id": [held, queued, saved],
        "id": [held, queued, agent],
        "thread_id": ["fuzzed", "fuzzed-thread"],
        "agent_id": [agent],
        "trace_id": ["fuzzed-trace"],
        "step_index": ["1", "0"],
        "checkpoint_id": checkpoint_ids(client, saved),
        "key_id": [key],
    }


def cases_of(operation: Any) -> st.SearchStrategy[Case]:
    """Requests by the document and against it, with ids of any text or of something that is there."""
    modes = [schemathesis.GenerationMode.POSITIVE]
    if operation.query or operation.body:
        modes.append(schemathesis.GenerationMode.NEGATIVE)
    return st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])


def prepared(case: Case, fuzzed: Fuzzed, route: tuple[str, str], with_known: int | None) -> Case:
    """The case with ids that exist, unless there are none, and without anything that waits on purpose."""
    if with_known is not None and case.path_parameters:
        for name in case.path_parameters:
            known = fuzzed.ids.get("ended" if route == ENDS_WITH_ITS_RUN else name)
            if known:
                case.path_parameters[name] = known[with_known % len(known)]
    if route in FOLLOWED:
        case.query = {**(case.query or {}), "follow": "false"}
    if isinstance(case.body, dict) and "wait_seconds" in case.body:
        case.body["wait_seconds"] = 0
    return case


def test_every_operation_of_the_document_is_asked(fuzzed: Fuzzed) -> None:
    assert sorted(fuzzed.operations) == OPERATIONS


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("route", TRIED, ids=" ".join)
def test_no_request_breaks_the_server(route: tuple[str, str], fuzzed: Fuzzed, examples: int) -> None:
    operation = fuzzed.operations[route]

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases_of(operation), with_known=st.none() | st.integers(0, 5))
    def send(case: Case, with_known: int | None) -> None:
        case = prepared(case, fuzzed, route, with_known)
        reply = case.call(
            fuzzed.server.base_url,
            session=fuzzed.session,
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=REPLY_DEADLINE_S,
        )
        assert reply.status_code < 500, f"{reply.status_code}: {reply.text}\n{case.as_curl_command()}"
        case.validate_response(reply, checks=[checks.status_code_conformance, checks.content_type_conformance])
        if route not in {*FOLLOWED, ENDS_WITH_ITS_RUN}:
            case.validate_response(reply, checks=[checks.response_schema_conformance])

    send()
    assert fuzzed.server.client().get("/readyz").status_code == 200
