"""The metrics page: what has happened can be read there, in a form that a collector takes."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.asgi.conversation import listen
from towerlog.asgi.app import App


async def samples(say: Any) -> dict[tuple[str, str, str], float]:
    text = (await say("GET", "/metrics")).body.decode()
    return {
        (one.name, one.labels.get("dialect", ""), one.labels.get("status", one.labels.get("le", ""))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def test_what_happened_is_counted(app: App, say: Any) -> None:
    run_id = (await say("POST", "/v1/threads/t/runs")).json["run_id"]
    await say("GET", "/v1/runs", key=None)
    stream = listen(app, f"/v1/runs/{run_id}/events")
    await stream.until(b"run.queued")
    for _ in range(201):
        await say("POST", "/api/ingest", value={"event_type": "step", "sdk_run_id": "r", "payload": {}})
    seen = await samples(say)
    assert seen["towerlog_requests_total", "runs", "201"] == 1
    assert seen["towerlog_requests_total", "runs", "401"] == 1
    assert seen["towerlog_requests_total", "runs", "200"] == 1
    assert seen["towerlog_requests_total", "steps", "429"] == 1
    assert seen["towerlog_rate_limited_total", "steps", ""] == 1
    assert seen["towerlog_request_seconds_bucket", "steps", "+Inf"] == 201
    assert seen["towerlog_request_seconds_count", "steps", ""] == 201
    assert seen["towerlog_streams_open", "", ""] == 1
    assert seen["towerlog_followers", "", ""] == 1
    assert seen["towerlog_commands_total", "", ""] == 201
    assert seen["towerlog_commits_total", "", ""] >= 1
    assert seen["towerlog_commit_queue", "", ""] == 0
    assert seen["towerlog_command_commits_count", "", ""] == 201
    assert seen["towerlog_command_commits_bucket", "", "1.0"] > 0
    assert seen["towerlog_longest_write_seconds", "", ""] < 1 + seen["towerlog_long_writes_total", "", ""] * 3600
    assert seen["towerlog_events_total", "", ""] == 201
    assert seen["towerlog_runs_silent", "", ""] == 0
    assert seen["towerlog_run_queue_oldest_seconds", "", ""] >= 0
    assert seen["process_resident_memory_bytes", "", ""] > 1_000_000
    stream.leave()
    await stream.task
    assert (await samples(say))["towerlog_streams_open", "", ""] == 0
