"""Files of OpenTelemetry: what a server makes of them is what it makes of the same spans from an exporter, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import towerlog
from tests.cli.importers.samples import written
from tests.cli.serving import asking, told_json
from tests.support.otlp import Export, as_protobuf, exports, span, traces
from tests.support.server import NO_LIMITS, Server
from towerlog.cli import exits
from towerlog.cli.importers import otlp
from towerlog.cli.importers.files import format_of, requests_in
from towerlog.cli.importers.sources import Source
from towerlog.errors import Malformed

Json = dict[str, Any]
FIGURES = ("foreign_id", "thread_id", "agent", "status", "started_at", "ended_at", "total_input_tokens",
           "total_output_tokens", "last_seq")  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", NO_LIMITS) as one:
        yield one


def figures(server: Server) -> list[Json]:
    with server.client() as client:
        rows = client.get("/api/v1/runs", params={"limit": 200}).json()["data"]
    return sorted(({name: row[name] for name in FIGURES} for row in rows), key=lambda row: str(row["foreign_id"]))


def of_exporters(folder: Path, told: list[Export]) -> list[Json]:
    """What a server has that was sent all of it by exporters."""
    with Server(folder, NO_LIMITS) as server, server.client() as client:
        for one in told:
            assert client.post(one.path, json=one.body).status_code == 200
        return figures(server)


@pytest.mark.parametrize("form", ["lines", "whole", "protobuf"])
def test_a_file_becomes_what_its_exporter_would_have_sent(server: Server, tmp_path: Path, form: str) -> None:
    told = [one for one in exports() if form != "protobuf" or one.path == "/v1/traces"]
    assert len(told) > 15
    files = []
    if form == "lines":
        metrics = {"resourceMetrics": [{"scopeMetrics": []}]}
        files.append(written(tmp_path / "spans.jsonl", metrics, *(one.body for one in told)))
    for one in () if form == "lines" else told:
        path = tmp_path / f"{one.name}.{form}"
        path.write_bytes(
            as_protobuf(one.path, one.body) if form == "protobuf" else json.dumps(one.body, indent=2).encode()
        )
        files.append(path)
    for path in files:
        found = told_json(server, "import", str(path))
        assert (found["format"], found["refused"]) == ("otlp", 0)
        assert found["taken"] == found["spans"] > 0
    expected = of_exporters(tmp_path / "other", told)
    assert len(expected) >= 18
    assert figures(server) == expected
    again = [told_json(server, "import", str(path)) for path in files]
    assert all(one["refused"] == 0 for one in again)
    assert figures(server) == expected, "a second time changes nothing"


def test_a_dry_run_counts_as_the_server_does(server: Server, tmp_path: Path) -> None:
    told = [one for one in exports() if one.path == "/v1/traces"]
    path = written(tmp_path / "spans.jsonl", *(one.body for one in told))
    done = towerlog("import", path, "--dry-run", "--json", TOWERLOG_URL="http://127.0.0.1:1", TOWERLOG_API_KEY="k" * 40)
    assert done.exit_code == 0, done.output
    counted = json.loads(done.stdout)
    words = towerlog("import", path, "--dry-run").stdout
    assert words.startswith("spans.jsonl (otlp): ")
    assert words.endswith("Nothing was sent.\n")
    assert "taken" not in counted
    told_json(server, "import", str(path))
    rows = figures(server)
    assert counted["runs"] == len(rows)
    assert counted["events"] == sum(row["last_seq"] for row in rows)
    assert counted["first_time"] == min(row["started_at"] for row in rows)


def test_what_cannot_be_stored_is_told(server: Server, tmp_path: Path) -> None:
    bad = {**span(2, 1), "traceId": "nope"}
    done = asking(server, "import", str(written(tmp_path / "bad.jsonl", traces(span(1), bad))))
    assert done.exit_code == exits.FOUND_WRONG
    assert ", 2 spans: 1 taken, 1 refused." in done.stdout
    assert "traceId" in done.stderr
    [row] = figures(server)
    assert row["status"] == "completed"


def test_a_large_request_is_sent_in_parts(server: Server, tmp_path: Path) -> None:
    """With all that its resource and its scope say in each of them."""
    many = [span(number + 1, 1 if number else 0, name="x" * 300) for number in range(6_000)]
    path = tmp_path / "large.json"
    path.write_text(json.dumps(traces(*many, service="big")))
    parts = [json.loads(one.body) for one in requests_in(Source(path, 0))]
    assert [len(one["resourceSpans"][0]["scopeSpans"][0]["spans"]) for one in parts] == [5000, 1000]
    assert all(one["resourceSpans"][0]["resource"] == {
        "attributes": [{"key": "service.name", "value": {"stringValue": "big"}}]
    } for one in parts)  # fmt: skip
    found = told_json(server, "import", str(path))
    assert (found["taken"], found["refused"]) == (6_000, 0)
    [row] = figures(server)
    assert (row["agent"], row["last_seq"]) == ("big", found["events"])


def test_protobuf_is_parted_between_its_processes(tmp_path: Path) -> None:
    one = as_protobuf("/v1/traces", traces(span(1, name="y" * 1_500_000)))
    path = tmp_path / "spans.pb"
    path.write_bytes(one * 5)
    assert format_of(Source(path, 0)) == "otlp"
    found = list(requests_in(Source(path, 0)))
    assert b"".join(request.body for request in found) == one * 5
    assert [len(request.body) // len(one) for request in found] == [2, 2, 1]
    path.write_bytes(one * 2 + b"\x12\x02ab")
    with pytest.raises(Malformed, match="from byte"):
        list(requests_in(Source(path, 0)))


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\n{}", b'\n{"a": 1}', b"\x0a\xff\xff\xff\x7fabc"])
def test_what_only_begins_like_protobuf_is_none(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(text)
    assert not otlp.is_protobuf(path)


def test_a_line_that_is_being_written_is_left_for_the_next_time(server: Server, tmp_path: Path) -> None:
    lines = [json.dumps(traces(span(number, trace=number))) for number in (1, 2)]
    path = tmp_path / "spans.jsonl"
    path.write_text(f"{lines[0]}\n{lines[1][:50]}")
    assert told_json(server, "import", str(path))["taken"] == 1
    path.write_text("\n".join(lines) + "\n")
    assert told_json(server, "import", str(path))["taken"] == 2
    assert [row["last_seq"] for row in figures(server)] == [2, 2]
