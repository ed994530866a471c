"""`towerlog import` against a server: what arrives, that a second time changes nothing, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import towerlog
from tests.cli.importers import samples
from tests.cli.importers.samples import at, written
from tests.cli.serving import asking, told_json
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.cli import exits
from towerlog.cli.importers.delivery import ImportOutcome, Sender
from towerlog.cli.importers.events import ImportedEvent
from towerlog.sdk.api.client import Client
from towerlog.sdk.wire import json_text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", NO_LIMITS) as one:
        yield one


@pytest.fixture(params=["claude-code", "codex", "langfuse", "langsmith"])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A format, and a file of it."""
    if request.param == "langfuse":
        path = tmp_path / "langfuse.json"
        path.write_text(json_text.write(samples.langfuse()))
        return request.param, path
    make = {"claude-code": samples.claude_code, "codex": samples.codex, "langsmith": samples.langsmith}[request.param]
    return request.param, written(tmp_path / f"{request.param}.jsonl", *make())


FIGURES = ("total_input_tokens", "total_output_tokens", "status", "started_at", "ended_at", "duration_ms", "last_seq")
EXPECTED = {
    "claude-code": [(2400, 180, "failed", at(1), at(13), 12_000), (1200, 90, "completed", at(7), at(8), 1000)],
    "codex": [(2500, 100, "completed", at(0), at(9), 9000)],
    "langfuse": [(1200, 90, "completed", at(1), at(6), 5000)],
    "langsmith": [(1200, 90, "completed", at(1), at(6), 5000)],
}
"""Format → its runs: tokens in and out, status, beginning, end, length."""


def all_of(server: Server, what: str = "runs") -> list[dict[str, Any]]:
    """What the native API lists."""
    found: list[dict[str, Any]] = server.client().get(f"/api/v1/{what}").json()["data"]
    return found


def test_a_file_becomes_runs_with_their_own_times_and_a_second_time_changes_nothing(server, sample) -> None:
    name, path = sample
    told = told_json(server, "import", str(path))
    assert (told["format"], told["refused"], told["duplicates"], told["stored"]) == (name, 0, 0, told["events"])
    runs = {row["run_id"]: row for row in all_of(server)}
    assert set(told["run_ids"]) == set(runs)
    found = sorted((tuple(row[one] for one in FIGURES[:-1]) for row in runs.values()), reverse=True)
    assert found == EXPECTED[name]
    assert sum(row["total_input_tokens"] for row in runs.values()) == told["input_tokens"]
    assert all(server.client().get(f"/v1/runs/{run_id}").json()["delivery"]["complete"] for run_id in runs)
    usage = all_of(server, "usage?by=hour&since=2026-03-01T00:00:00Z&until=2026-03-02T00:00:00Z")
    buckets = ("input_tokens", "cached_input_tokens", "cache_write_tokens")
    counted = sum(cell["usage"][bucket] or 0 for cell in usage for bucket in buckets)
    assert counted == told["input_tokens"], "counted when it happened"
    again = told_json(server, "import", str(path))
    assert (again["stored"], again["duplicates"], again["refused"]) == (0, told["events"], 0)
    assert {row["run_id"]: row for row in all_of(server)} == runs


def test_a_child_of_a_session_is_a_child(server, tmp_path) -> None:
    told_json(server, "import", str(written(tmp_path / "s.jsonl", *samples.claude_code())))
    [main] = [row for row in all_of(server) if row["agent"] == "claude-code"]
    [child] = [row for row in all_of(server) if row["agent"] == "claude-code-subagent"]
    assert child["parent_run_id"] == main["run_id"]
    assert {main["thread_id"], child["thread_id"]} == {samples.SESSION}
    assert main["unpriced_calls"] is not None
    whole = server.client().get(f"/v1/runs/{main['run_id']}").json()
    assert whole["input"] == "which towers lean?"
    assert whole["metadata"]["session_id"] == samples.SESSION


def test_money_is_exact(server, sample) -> None:
    name, path = sample
    told_json(server, "import", str(path))
    calls = [
        event
        for row in all_of(server)
        for event in server.client().get(f"/api/v1/runs/{row['run_id']}/events?type=model.call").text.split('"seq"')
    ]
    cost = {"claude-code": '"cost_usd":0.012345679', "codex": None}.get(name, '"cost_usd":0.0035')
    reported = [event for event in calls if '"cost_source":"reported"' in event]
    assert len(reported) == (0 if cost is None else 1)
    assert cost is None or cost in reported[0]


@pytest.mark.parametrize("kind", ["claude-code", "codex"])
def test_a_session_that_has_gone_on_brings_what_is_new(server, tmp_path, kind) -> None:
    lines = samples.claude_code() if kind == "claude-code" else samples.codex()
    told_json(server, "import", str(written(tmp_path / "s.jsonl", *lines[:10])))
    told = told_json(server, "import", str(written(tmp_path / "s.jsonl", *lines)))
    assert told["refused"] == 0
    assert told["stored"] > 0
    with Server(tmp_path / "whole", NO_LIMITS) as other:
        told_json(other, "import", str(tmp_path / "s.jsonl"))
        for name in ("total_input_tokens", "total_output_tokens"):
            assert sum(row[name] for row in all_of(server)) == sum(row[name] for row in all_of(other)), name
    assert all(
        server.client().get(f"/v1/runs/{row['run_id']}").json()["delivery"]["complete"] for row in all_of(server)
    )


def test_a_dry_run_asks_nobody_and_says_what_is_there(sample) -> None:
    name, path = sample
    done = towerlog("import", path, "--dry-run", TOWERLOG_URL="http://127.0.0.1:1", TOWERLOG_API_KEY="adm_" + "x" * 40)
    assert done.exit_code == 0, done.output
    assert f"({name})" in done.stdout
    assert "Nothing was sent." in done.stdout
    told = json.loads(towerlog("import", path, "--dry-run", "--json").stdout)
    assert (told["model_calls"], told["calls_without_cost"]) == {"claude-code": (3, 2), "codex": (2, 2)}.get(
        name, (1, 0)
    )
    assert told["cost_usd"] == {"claude-code": "0.0123456789", "codex": None}.get(name, "0.0035")
    assert "stored" not in told


def test_several_files_are_each_told_and_words_are_for_people(server, tmp_path) -> None:
    one = written(tmp_path / "one.jsonl", *samples.codex())
    two = written(tmp_path / "two.jsonl", *samples.langsmith())
    done = asking(server, "import", str(one), str(two))
    assert done.exit_code == 0, done.output
    first, second = done.stdout.splitlines()
    assert first == (
        f"one.jsonl (codex): 1 run, 9 events from {at(0)} to {at(9)}: 9 stored, 0 known already, 0 refused."
    )
    assert second.startswith("two.jsonl (langsmith): 1 run, 5 events")


def test_what_is_refused_is_named_and_the_rest_arrives(server, tmp_path) -> None:
    path = written(tmp_path / "s.jsonl", *samples.codex())
    told_json(server, "import", str(path))
    changed = samples.codex()
    changed[12]["payload"]["content"][0]["text"] = "Bologna."
    done = asking(server, "import", str(written(path, *changed)), "--json")
    assert done.exit_code == exits.FOUND_WRONG
    told = json.loads(done.stdout)
    assert (told["ok"], told["refused"], told["stored"]) == (False, 1, 1), "the answer; what it has come to is late"
    assert f"{at(7)}:2" in done.stderr


def test_a_key_that_may_not_and_a_file_of_nobody_end_in_words(server, tmp_path) -> None:
    path = written(tmp_path / "s.jsonl", *samples.codex())
    done = asking(server, "import", str(path), TOWERLOG_API_KEY=server.make_key("read"))
    assert done.exit_code == exits.NO_PERMISSION
    done = asking(server, "import", str(written(tmp_path / "x.jsonl", {"a": 1})))
    assert done.exit_code == exits.FOUND_WRONG
    assert "--format" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_server_takes_only_in_part_is_sent_in_halves(server) -> None:
    """A text may be as long as a server takes an event; together they are more than it takes of a request."""
    outcome = ImportOutcome()

    def event(name: str, texts: int) -> ImportedEvent:
        payload = {str(number): "x" * 250_000 for number in range(texts)}
        return ImportedEvent("big", name, "other", None, {"name": "n", "payload": payload})

    events = [*(event(f"e{number}", 16) for number in range(6)), event("too-large", 20)]
    with Client(server.base_url, ADMIN_KEY) as client:
        Sender(client, "test", outcome).send(events, lambda done: None)
    assert outcome.results == {"stored": 6, "refused": 1}
    assert len(outcome.refusals) == 1
