"""What one request of `otlp` may make of itself, what of it is read on the event loop; names that are no secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.calls import call
from tests.dialects.otlp.test_dialect import decode, drafts, endpoint
from tests.support.otlp import JSON, PROTOBUF, Json, as_protobuf, logs, span, traces
from towerlog.dialects.otlp.drafts import BYTES_AT_LEAST, FREE_BYTES, MAX_SHARED_BYTES, TIMES_THE_BODY
from towerlog.model.event import Draft, Refusal

LEAK = "hunter2secret"
KEY = f"sk-{LEAK}{'a' * 20}"
URL = f"https://u:{LEAK}@h/"
MIB = 2**20


def bomb(roots: int, size: int, **more: Any) -> Json:
    """Roots of as many traces, of a process with an attribute of so many bytes."""
    return traces(*(span(1, trace=n + 1) for n in range(roots)), about="y" * size, **more)


@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
def test_what_a_process_tells_of_itself_is_repeated_within_a_bound(kind: str) -> None:
    sent = bomb(200, MIB, small="kept", api_key="hush")
    body = json.dumps(sent).encode() if kind == JSON else as_protobuf("/v1/traces", sent)
    items = decode(body, kind=kind).items
    assert len(items) == 400
    begun = json.loads(items[0].data)  # type: ignore[union-attr]
    assert begun["resource"] == {"service.name": "weather", "small": "kept", "api_key": "[masked]"}
    assert begun["resource_left_out"] == 1
    assert sum(len(one.data) for one in items if isinstance(one, Draft)) < MIB


def test_the_names_of_a_library_are_as_long_as_labels() -> None:
    sent = traces(*(span(n + 2, 1) for n in range(100)))
    sent["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"] = "s" * MIB
    items = decode(sent).items
    assert sum(len(one.data) for one in items if isinstance(one, Draft)) < 100 * 1024


def test_events_of_a_request_have_a_bound_together_and_those_behind_it_are_refused_in_words() -> None:
    roots = 2000
    sent = bomb(roots, MAX_SHARED_BYTES - 1000)
    items = decode(sent).items
    stored = [one for one in items if isinstance(one, Draft)]
    refused = [one for one in items if isinstance(one, Refusal)]
    most = BYTES_AT_LEAST + TIMES_THE_BODY * len(json.dumps(sent)) + FREE_BYTES * len(stored)
    assert most - 2 * MAX_SHARED_BYTES < sum(len(one.data) for one in stored) + FREE_BYTES * len(stored)
    assert sum(len(one.data) for one in stored) <= most
    assert len(stored) // 2 + len(refused) == roots
    assert refused[0].code == "too_large"
    assert "events of a request may have together" in refused[0].message


def test_small_spans_are_never_too_many_bytes() -> None:
    sent = as_protobuf("/v1/traces", traces(*(span(1, trace=n + 1) for n in range(5000))))
    assert all(isinstance(one, Draft) for one in decode(sent, kind=PROTOBUF).items)


@pytest.mark.parametrize(
    ("operation", "name", "value"),
    [
        ("invoke_agent", "gen_ai.agent.name", URL), ("chat", "gen_ai.request.model", URL),
        ("chat", "gen_ai.request.model", KEY),
        ("execute_tool", "gen_ai.tool.name", URL), ("execute_tool", "gen_ai.tool.call.id", KEY),
        ("chat", "gen_ai.response.id", KEY), ("chat", "gen_ai.response.id", URL), ("chat", "session.id", KEY),
        ("chat", "gen_ai.provider.name", f"{KEY}"), ("chat", "output.value", json.dumps({"id": KEY})),
    ],
)  # fmt: skip
def test_names_and_ids_are_no_secrets_either(operation: str, name: str, value: str) -> None:
    found = drafts(span(1, name="x", **{"gen_ai.operation.name": operation, name: value}))
    assert found
    assert LEAK not in repr(found)


def test_what_a_span_or_a_service_or_a_record_is_called_is_no_secret() -> None:
    assert LEAK not in repr(drafts(span(1, name=f"invoke_agent {URL}", gen_ai__operation__name="invoke_agent")))
    assert LEAK not in repr(drafts(span(1, name=f"execute_tool {URL}", gen_ai__operation__name="execute_tool")))
    assert LEAK not in repr(drafts(span(1), service__name=URL))
    record = {"traceId": "ab" * 16, "eventName": URL, "body": {"stringValue": "x"}}
    assert LEAK not in repr(decode(logs(record), "/v1/logs").items)


def test_ids_with_secrets_are_masked_and_still_differ() -> None:
    def ids(*values: str) -> set[str | None]:
        # An account without figures is known by its span alone.
        chat = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1}
        return {drafts(span(2, 1, **chat, **{"gen_ai.response.id": one}))[0].event_id for one in values}

    assert len(ids(KEY, KEY + "b", "plain")) == 3
    assert "response:plain" in ids("plain")


QUICK_NOT: dict[str, Json] = {
    "arrays in a text": traces(span(1, input__value="[" + "[]," * 80_000 + "[]]")),
    "numbers in a text": traces(span(1, input__value="[" + "1," * 100_000 + "1]")),
    "secrets in a text": traces(span(1, input__value="key'='" * 5_000)),
    "private keys": traces(span(1, input__value="-----BEGIN PRIVATE KEY-----" * 3_000)),
    "model calls": traces(*(span(n + 2, n + 1, gen_ai__operation__name="chat") for n in range(480))),
    "empty records": {"resourceLogs": [{"scopeLogs": [{"logRecords": [{}] * 8_000}]}]},
}


@pytest.mark.parametrize("what", QUICK_NOT)
@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
def test_what_takes_long_is_not_read_on_the_event_loop(what: str, kind: str) -> None:
    path = "/v1/logs" if what == "empty records" else "/v1/traces"
    body = json.dumps(QUICK_NOT[what]).encode() if kind == JSON else as_protobuf(path, QUICK_NOT[what])
    is_quick = endpoint(path).is_quick
    assert is_quick is not None
    assert not is_quick(call(body, headers={b"content-type": kind.encode()}))
    usual = traces(*(span(n + 2, 1, name="usual", input__value="some text, " * 50) for n in range(200)))
    assert is_quick(call(json.dumps(usual).encode(), headers={b"content-type": JSON.encode()}))
