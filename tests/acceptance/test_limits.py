"""Bodies that no honest client sends, on every POST of every dialect: always an answer, never a 5xx, never a hang."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import httpx2
import pytest
import zstandard

from tests.acceptance.feeds import claim, create_run, log_of, newest_run_of, ok, snapshot, started, step
from tests.acceptance.routes import POSTS, ROUTES, form_problem, shape_of
from tests.support.readback import ReadBack
from tests.support.senders import save_batch, send_batch
from tests.support.tables import table

MIB = 2**20
BODY_LIMIT = 16 * MIB
EVENT_LIMIT = 4 * MIB
DEPTH_LIMIT = 128
ANSWER_WITHIN_S = 60
WITHOUT_A_BODY = (
    "/approvals",
    "/v1/runs/{}:cancel",
    "/api/v1/alerts/{}:acknowledge",
    "/api/v1/deliveries/{}:redeliver",
    "/api/v1/members/{}:sign-out",
)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    """JSON of that depth."""
    return opening * depth + closing * depth


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \n\t ",
    "half": b'{"events": [{"type": "checkp',
    "trailing": b'{"worker_id": "w"} {"worker_id": "w"}',
    "not-utf-8": b'{"worker_id": "\xff\xfe\x80"}',
    "utf-16": '{"worker_id": "w"}'.encode("utf-16"),
    "byte-order-mark": b'\xef\xbb\xbf{"worker_id": "w"}',
    "null": b"null",
    "list": b"[]",
    "list-of-null": b"[null]",
    "string": b'"events"',
    "number": b"1e999999999",
    "nan": b'{"worker_id": NaN, "events": NaN, "payload": {"cost_usd": NaN}}',
    "infinity": b'{"events": [Infinity, -Infinity], "lease_seconds": Infinity}',
    "huge-integer": b'{"lease_seconds": ' + b"9" * 100_000 + b', "sdk_run_id": ' + b"9" * 5000 + b"}",
    "huge-exponent": b'{"lease_seconds": 1e400, "wait_seconds": -1e400, "payload": {"n": 1e-400}}',
    "lone-surrogates": b'{"worker_id": "\\ud800", "content": "\\udfff", "thread_id": "\\ud800x", "name": "\\ud83d"}',
    "nul": b'{"worker_id": "a\\u0000b", "content": "\\u0000", "thread_id": "\\u0000", "sdk_run_id": "\\u0000"}',
    "raw-control": b'{"worker_id": "a\x00b\x1f"}',
    "duplicate-keys": b'{"worker_id": "a", "worker_id": "b", "events": [], "events": 7, "payload": {}, "payload": []}',
    "deep-lists": nested(100_000).encode(),
    "deep-objects": ('{"a":' * 100_000 + "1" + "}" * 100_000).encode(),
    "deep-in-a-field": b'{"worker_id": "w", "payload": '
    + nested(200).encode()
    + b', "metadata": '
    + nested(200).encode()
    + b"}",
    "unclosed-depth": b"[" * 1_000_000,
    "many-keys": json.dumps({f"key{n}": n for n in range(100_000)}).encode(),
    "many-items": b"[" + b"0," * 200_000 + b"0]",
    "long-key": b'{"' + b"k" * MIB + b'": 1}',
    "prototype": b'{"__proto__": {"admin": true}, "constructor": null, "$where": "1"}',
}


@pytest.fixture(scope="module")
def ids(server) -> dict[str, str]:
    """Something for every parameter: a held run, and a checkpoint that waits for approval."""
    client = server.client()
    save_batch(client, started("limits", "limits-trace"))
    save_batch(client, snapshot("limits", "limits-trace", 1, [], status="waiting_for_approval"))
    step(client, "limits-sdk", "run_start", agent_name="limits-agent")
    run_id = create_run(client, "limits-lane")["run_id"]
    claim(client, run_id, "w", lease_seconds=3600)
    # The server is shared: others may wait there as well.
    inbox = ok(client.get("/api/v1/approvals", params={"kind": "approval", "limit": 200}))["data"]
    [waiting] = [one for one in inbox if one["thread_id"] == "limits"]
    agent_id = ReadBack(client).agent_id("limits-agent")
    return {"run": run_id, "agent": agent_id, "approval": waiting["approval_id"]}


def filled(path: str, ids: dict[str, str]) -> str:
    """A path of the table with real ids in it."""
    if path.startswith("/approvals"):
        return path.replace("{}", "limits-trace", 1).replace("{}", "1")
    if path.startswith("/api/v1/approvals"):
        return path.replace("{}", ids["approval"])
    if path.startswith("/agents"):
        return path.replace("{}", ids["agent"])
    if path.startswith("/v1/threads"):
        return path.replace("{}", "limits-thread")
    return path.replace("{}", ids["run"])


def send(client: httpx2.Client, path: str, body: bytes, **headers: str) -> httpx2.Response:
    """Posts raw bytes; the answer has to come in time."""
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, content=body, headers=named, timeout=ANSWER_WITHIN_S)


def judge(path: str, reply: httpx2.Response, allowed: set[int]) -> str | None:
    """What is wrong with an answer, or None."""
    if reply.status_code < 400:
        return None if allowed & {200, 201, 204} else f"{path}: {reply.status_code} {reply.text[:200]}"
    if reply.status_code not in allowed:
        return f"{path}: {reply.status_code} {reply.text[:200]}"
    if reply.status_code in {400, 413}:
        return None if isinstance(reply.json(), dict) else f"{path}: no form {reply.text[:200]}"
    return None


JUNK = [
    "",
    "%00",
    "%ff%fe",
    "-1",
    "1e400",
    "9" * 400,
    "NaN",
    "true",
    "[]",
    "%0d%0aX-Injected:1",
    "x" * 5000,
    "%F0%9F%9C%B2",
]
PARAMETERS = [
    *["limit", "before", "status", "agent", "thread_id", "model", "persona_id", "parent_run_id", "since", "until", "q"],
    *["after_seq", "tail", "after", "state", "cursor", "type", "by", "name", "from", "to"],
]


@pytest.fixture(scope="module")
def taken(client) -> set[tuple[str, str]]:
    """(path, parameter of its query), as the server's own document has them."""
    paths = client.get("/openapi.json").json()["paths"]
    named = {shape_of(path): item["get"].get("parameters", ()) for path, item in paths.items() if "get" in item}
    return {(path, one["name"]) for path, known in named.items() for one in known if one["in"] == "query"}


@pytest.mark.parametrize("share", [7, pytest.param(1, marks=pytest.mark.slow)], ids=["a seventh", "all"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_hostile_query_is_answered(client, ids, taken, name, share) -> None:
    """Every parameter at every path, with all of the junk or a seventh of it that is another from path to path.

    A path that has no such parameter gets a single one, unless it gets all.
    """
    wrong = []
    for number, path in enumerate(sorted(path for method, path in ROUTES if method == "GET" and path != "/metrics")):
        each = share if share == 1 or (path, name) in taken else len(JUNK)
        for value in JUNK[(number + PARAMETERS.index(name)) % each :: each]:
            reply = client.get(f"{filled(path, ids)}?{name}={value}&follow=false", timeout=ANSWER_WITHIN_S)
            if reply.status_code >= 500 or "X-Injected" in reply.headers:
                wrong.append(f"{path}?{name}={value[:20]}: {reply.status_code}")
    assert not wrong, "\n".join(wrong)


def test_the_parameters_that_are_asked_for_are_those_of_the_document(taken) -> None:
    """Nearly all: the others are asked for by the fuzz of the document."""
    assert len({name for _, name in taken} & set(PARAMETERS)) > len(PARAMETERS) / 2


@pytest.mark.parametrize("value", ["", "-1", "x", "9" * 400, "1.5", "0x1", "1,2", "\u00fc"])
def test_a_hostile_cursor_header_is_answered(client, ids, value) -> None:
    for path in [f"/v1/runs/{ids['run']}/events", f"/agents/{ids['agent']}/events"]:
        headers = [("Last-Event-ID", value.encode("latin-1")), ("Accept", b"text/event-stream")]
        reply = client.get(path, params={"follow": "false"}, headers=headers, timeout=ANSWER_WITHIN_S)
        assert reply.status_code in {200, 204, 400, 422}, f"{path}: {reply.status_code}"


LARGE_BYTES = 50_000
SHARES_OF_PATHS = [
    param
    for name in sorted(HOSTILE)
    for param in (
        [pytest.param(name, 3, id=f"{name}-a third"), pytest.param(name, 1, id=name, marks=pytest.mark.slow)]
        if len(HOSTILE[name]) > LARGE_BYTES
        else [pytest.param(name, 1, id=name)]
    )
]


@pytest.mark.parametrize(("name", "share"), SHARES_OF_PATHS)
def test_a_hostile_body_is_answered(client, ids, name, share) -> None:
    """At every path, or a large one at a third of them that is another from body to body."""
    wrong = []
    for path in POSTS[sorted(HOSTILE).index(name) % share :: share]:
        reply = send(client, filled(path, ids), HOSTILE[name])
        wrong.append(judge(path, reply, {200, 201, 204, 400, 403, 404, 409, 413, 415, 422}))
    assert [problem for problem in wrong if problem] == []
    assert client.get("/healthz").status_code == 200


REPAIRED = {"/agents/{}/events", "/api/agents/runs/{}/events", "/v1/logs", "/v1/metrics", "/v1/traces"}
"""Paths of telemetry that take what is left of a text once its broken characters are replaced."""


@pytest.mark.parametrize("name", ["half", "not-utf-8", "deep-lists", "unclosed-depth", "raw-control"])
def test_what_is_no_json_is_refused_in_the_dialects_form(client, ids, name) -> None:
    wrong = []
    for path in [path for path in POSTS if not path.startswith(WITHOUT_A_BODY)]:
        reply = send(client, filled(path, ids), HOSTILE[name])
        if name == "not-utf-8" and path in REPAIRED:
            # Telemetry is repaired, and then it is what it is: without a type, of a run that another holds, nothing.
            wrong += [] if reply.status_code in {200, 400, 409, 422} else [f"{path}: {reply.status_code} {reply.text}"]
        elif reply.status_code not in {400, 413, 422}:
            wrong.append(f"{path}: {reply.status_code} {reply.text[:200]}")
        elif path.startswith(("/v1/runs", "/v1/threads")):
            form = {"code", "message", "trace_id"}
            wrong += [] if form <= set(reply.json()) else [f"{path}: {reply.text}"]
        elif name == "deep-lists" and path.endswith("/events") and set(reply.json()) == {"accepted", "rejected"}:
            # To whoever takes a list of events it is a list of one, which is refused alone.
            wrong += [] if reply.json()["accepted"] == 0 else [f"{path}: {reply.text}"]
        elif problem := form_problem(path, reply):
            wrong.append(f"{path}: {problem}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", ""]
)
def test_a_wrong_content_type_is_answered(client, ids, kind) -> None:
    wrong = []
    for path in [path for path in POSTS if not path.startswith(WITHOUT_A_BODY)]:
        reply = send(client, filled(path, ids), b"a=1&b=2", Content_Type=kind)
        wrong.append(judge(path, reply, {200, 201, 204, 400, 409, 415, 422}))
    assert [problem for problem in wrong if problem] == []


def refused_or_cut(client: httpx2.Client, path: str, body: bytes, **headers: str) -> int:
    """The status of a body that is too large, or 413 when the server hung up on it before the end."""
    try:
        return send(client, path, body, **headers).status_code
    except (httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError):
        return 413


def test_a_body_over_the_limit_is_413(client, ids) -> None:
    body = b'{"worker_id": "' + b"w" * BODY_LIMIT + b'"}'
    codes = {path: refused_or_cut(client, filled(path, ids), body) for path in POSTS}
    assert {path: code for path, code in codes.items() if code != 413 and not path.startswith(WITHOUT_A_BODY)} == {}
    assert client.get("/healthz").status_code == 200


def test_a_body_over_the_limit_without_a_length_is_413(client, ids) -> None:
    def pieces() -> Any:
        for _ in range(17):
            yield b"x" * MIB

    for path in ["/v1/runners/events", "/api/ingest", f"/api/agents/runs/{ids['run']}/events"]:
        try:
            code = client.post(path, content=pieces(), headers={"Content-Type": "application/json"}).status_code
        except (httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError):
            code = 413
        assert code == 413, path
    assert client.get("/healthz").status_code == 200


def bombs(size: int) -> dict[str, bytes]:
    """Small bodies that unfold to that size: gzip, gzip in many members, zstd with and without its size written in."""
    zeros = b" " * MIB
    count = size // MIB
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, second = (packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    # What stands between two full flushes is the same each time. Nobody who refuses it gets to the sum at its end.
    whole = first + second * (count - 1) + packer.flush()
    stream = zstandard.ZstdCompressor(level=3).compressobj()
    unsized = b"".join(stream.compress(zeros) for _ in range(count)) + stream.flush()
    sized = zstandard.ZstdCompressor(level=3).compress(b" " * size)
    return {"gzip": whole, "gzip-members": gzip.compress(zeros) * count, "zstd": unsized, "zstd-sized": sized}


@pytest.fixture(scope="module")
def packed_bombs() -> dict[str, bytes]:
    """Made once, and only where they are wanted."""
    return bombs(256 * MIB)


BOMBS = ["gzip", "gzip-members", "zstd", "zstd-sized"]


@pytest.mark.parametrize("share", [len(BOMBS), pytest.param(1, marks=pytest.mark.slow)], ids=["a quarter", "all"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_compressed_bomb_is_413_and_costs_no_memory(server, client, ids, name, packed_bombs, share) -> None:
    """Every path meets one of the bombs at least."""
    bomb = packed_bombs[name]
    assert len(bomb) < MIB
    before = server.resident_bytes()
    coding = name.split("-")[0]
    # A reader of gzip may stop at the first member and refuse the rest as no gzip.
    good = {400, 413, 422} if name == "gzip-members" else {413}
    paths = POSTS[BOMBS.index(name) % share :: share]
    codes = {path: refused_or_cut(client, filled(path, ids), bomb, Content_Encoding=coding) for path in paths}
    assert {
        path: code for path, code in codes.items() if code not in good and not path.startswith(WITHOUT_A_BODY)
    } == {}
    assert server.resident_bytes() - before < 96 * MIB


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_compressed_body_is_taken(client, unique, coding) -> None:
    sdk_run = unique("sdk")
    body = json.dumps({"event_type": "step", "sdk_run_id": sdk_run, "payload": {"node_name": "packed"}}).encode()
    packed = gzip.compress(body) if coding == "gzip" else zstandard.compress(body)
    ok(send(client, "/api/ingest", packed, Content_Encoding=coding))
    assert log_of(client, newest_run_of(client, sdk_run))[-1]["data"] == {"node_name": "packed"}


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br", "deflate", "gzip, gzip", "nonsense"])
def test_a_coding_that_is_not_what_it_says_is_refused(client, ids, coding) -> None:
    for body in [b'{"worker_id": "w"}', gzip.compress(b"{}" * 100)[:-9], zstandard.compress(b"{}" * 100)[:-3]]:
        for path in ["/v1/runners/events", "/api/ingest", f"/api/agents/runs/{ids['run']}/events", "/v1/threads"]:
            reply = send(client, path, body, Content_Encoding=coding)
            assert reply.status_code in {400, 415, 422}, f"{path}: {reply.status_code} {reply.text}"


def payload_of_depth(depth: int) -> Any:
    """An object nested so deep."""
    value: Any = {"leaf": 1}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


def test_depth_is_limited_where_the_page_says(client, unique) -> None:
    sdk_run = unique("sdk")
    deep = payload_of_depth(DEPTH_LIMIT - 3)
    step(client, sdk_run, "step", deep)
    assert log_of(client, newest_run_of(client, sdk_run))[-1]["data"] == deep
    body = {"event_type": "step", "sdk_run_id": sdk_run, "payload": payload_of_depth(DEPTH_LIMIT + 1)}
    reply = send(client, "/api/ingest", json.dumps(body).encode())
    assert reply.status_code in {400, 413, 422}, reply.text


def test_an_event_over_its_limit_is_refused_and_its_neighbours_are_not(client, unique) -> None:
    thread = unique("thread")
    large = {"type": "workflow_step", "data": {"thread_id": thread, "trace_id": "tr", "text": "x" * EVENT_LIMIT}}
    reply = send_batch(client, started(thread, "tr"), large, snapshot(thread, "tr", 2, []))
    assert reply.status_code == 200, reply.text
    assert reply.json()["saved"] == 2
    assert [refusal["index"] for refusal in reply.json()["rejected"]] == [1]
    text = {"event_type": "step", "sdk_run_id": unique("sdk"), "payload": {"text": "x" * EVENT_LIMIT}}
    assert send(client, "/api/ingest", json.dumps(text).encode()).status_code in {413, 422}
    text["payload"] = {"text": "x" * (EVENT_LIMIT - 4096)}
    ok(send(client, "/api/ingest", json.dumps(text).encode()))


@pytest.mark.parametrize("text", ["nul \x00 inside", "🜲 \u2028 \u202e \ufeff", "\x1b[31m", "</script>", "\ue000\uffff"])
def test_text_that_is_odd_but_legal_comes_back_as_it_was(client, unique, text) -> None:
    sdk_run = unique("sdk")
    step(client, sdk_run, "step", {"node_name": text, text: 1})
    assert log_of(client, newest_run_of(client, sdk_run))[-1]["data"] == {"node_name": text, text: 1}


@pytest.mark.parametrize(
    "number",
    ["9007199254740993", "-9223372036854775809", "123456789012345678901234567890", "1e300", "0.1", "5e-324", "-0.0"],
)
def test_numbers_in_a_payload_come_back_as_they_were(client, unique, number) -> None:
    sdk_run = unique("sdk")
    body = f'{{"event_type": "step", "sdk_run_id": "{sdk_run}", "payload": {{"n": {number}}}}}'
    ok(send(client, "/api/ingest", body.encode()))
    assert log_of(client, newest_run_of(client, sdk_run))[-1]["data"]["n"] == json.loads(number)


@table("value", ["-1", "9007199254740993", "1e400", "1.5", '"7"', "true", "NaN"])
@table("field", ["prompt_tokens", "completion_tokens", "cost_usd"])
def test_a_figure_that_is_absurd_is_named_and_not_counted(client, unique, field, value) -> None:
    sdk_run = unique("sdk")
    step(client, sdk_run, "run_start", agent_name="a")
    body = f'{{"event_type": "run_end", "sdk_run_id": "{sdk_run}", "payload": {{"{field}": {value}}}}}'
    reply = ok(send(client, "/api/ingest", body.encode()))
    shown = {"prompt_tokens": "total_input_tokens", "completion_tokens": "total_output_tokens"}
    run = ok(client.get(f"/api/v1/runs/{newest_run_of(client, sdk_run)}"))
    assert run["status"] == "completed"
    # A string of digits is that number, and so are dollars with a fraction.
    counted = {'"7"': 7, "1.5": 1.5 if field == "cost_usd" else None}.get(value)
    assert run[shown.get(field, "total_cost_usd")] == counted
    named = [warning["field"] for warning in reply.get("warnings", [])]
    assert named == ([] if counted is not None else [f"payload.{field}"])
