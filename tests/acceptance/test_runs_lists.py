"""The `runs` dialect over HTTP: the two lists, their pages, and every filter."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.acceptance.feeds import (
    FULL_ROW,
    TIME,
    UUID,
    cancel,
    complete,
    create_run,
    ended,
    fail,
    held_run,
    newest_run_of,
    ok,
    report,
    snapshot,
    started,
    step,
)
from tests.support.senders import save_batch

STATUSES = {"running", "completed", "failed", "cancelled"} | {
    "queued", "waiting_for_input", "cancelling", "budget_exceeded", "lost",
}  # fmt: skip


@pytest.fixture
def org(server, unique) -> httpx2.Client:
    """A client of an organisation that holds nothing yet."""
    _, key = server.make_org(unique("org"))
    return server.client(key)


def ids(client: httpx2.Client, **params: object) -> list[str]:
    """The run ids of one page of the global list."""
    return [row["run_id"] for row in ok(client.get("/v1/runs", params=params))]


def test_an_empty_organisation_lists_nothing(org) -> None:
    assert ok(org.get("/v1/runs")) == []
    assert ok(org.get("/v1/threads")) == []


def test_a_row_is_full(org, unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    history = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    save_batch(
        org,
        started(thread, trace, model="claude-3-5-sonnet"),
        snapshot(
            thread, trace, 1, history,
            tokens_used=1500, input_tokens=1000, output_tokens=500, model="claude-3-5-sonnet", run_cost_usd=0.005,
        ),
        ended(thread, tokens_used=1500, model="claude-3-5-sonnet"),
    )  # fmt: skip
    (row,) = ok(org.get("/v1/runs"))
    assert set(row) == FULL_ROW
    assert UUID.fullmatch(row["run_id"])
    assert UUID.fullmatch(row["org_id"])
    assert UUID.fullmatch(row["created_by_user_id"])
    assert TIME.fullmatch(row["created_at"])
    assert TIME.fullmatch(row["completed_at"])
    assert row["created_at"] <= row["completed_at"]
    assert isinstance(row["duration_ms"], int)
    expected = {
        "thread_id": thread, "status": "completed", "model": "claude-3-5-sonnet", "persona_id": None, "failed_at": None,
        "total_input_tokens": 1000, "total_output_tokens": 500, "total_cost_usd": 0.005, "credits_used": 5,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_what_is_unknown_is_null(org, unique) -> None:
    create_run(org, unique("thread"))
    (row,) = ok(org.get("/v1/runs"))
    unknown = {
        "model", "persona_id", "total_input_tokens", "total_output_tokens", "total_cost_usd", "duration_ms",
        "cache_hit_rate", "credits_used", "completed_at", "failed_at",
    }  # fmt: skip
    assert {name: row[name] for name in unknown} == dict.fromkeys(unknown)
    assert row["status"] == "queued"


def test_credits_are_rounded_up(org, unique) -> None:
    sdk_run = unique("sdk")
    step(org, sdk_run, "run_start", agent_name="a")
    step(org, sdk_run, "run_end", {"prompt_tokens": 150, "completion_tokens": 45, "cost_usd": 0.0023, "model": "gpt-4"})
    (row,) = ok(org.get("/v1/runs"))
    assert row["total_cost_usd"] == 0.0023
    assert row["credits_used"] == 3


def test_a_failed_row_says_when(org, unique) -> None:
    run_id = held_run(org, unique("thread"), "w")
    fail(org, run_id, "w", "it broke")
    (row,) = ok(org.get("/v1/runs"))
    assert row["status"] == "failed"
    assert TIME.fullmatch(row["failed_at"])
    assert row["completed_at"] is None


def test_both_lists_are_newest_first_and_bounded_by_limit(org, unique) -> None:
    thread = unique("thread")
    made = [create_run(org, thread)["run_id"] for _ in range(5)]
    assert ids(org) == made[::-1]
    assert ids(org, limit=2) == made[:2:-1]
    rows = ok(org.get(f"/v1/threads/{thread}/runs", params={"limit": 3}))
    assert [row["run_id"] for row in rows] == made[:1:-1]
    assert all(set(row) == {"run_id", "status", "created_at"} for row in rows)
    assert all(row["status"] == "queued" and TIME.fullmatch(row["created_at"]) for row in rows)


def test_the_limit_is_fifty_by_default_and_two_hundred_at_most(org, unique) -> None:
    thread = unique("thread")
    for _ in range(52):
        create_run(org, thread)
    assert len(ids(org)) == 50
    assert len(ids(org, limit=200)) == 52
    assert len(ids(org, limit=1)) == 1
    assert len(ok(org.get(f"/v1/threads/{thread}/runs"))) == 50


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "1e2", "99999999999999999999"])
@pytest.mark.parametrize("where", ["all", "thread"])
def test_a_limit_out_of_range_is_refused(org, unique, where, limit) -> None:
    thread = unique("thread")
    create_run(org, thread)
    path = "/v1/runs" if where == "all" else f"/v1/threads/{thread}/runs"
    reply = org.get(path, params={"limit": limit})
    assert reply.status_code == 422, reply.text
    assert reply.json()["code"] == "validation.failed"
    assert "limit" in reply.json()["details"]


def test_pages_follow_before_and_the_link(org, unique) -> None:
    made = [create_run(org, unique("thread"))["run_id"] for _ in range(7)]
    assert ids(org, limit=3, before=made[4]) == [made[3], made[2], made[1]]
    seen: list[str] = []
    url: str | None = "/v1/runs?limit=3"
    for _ in range(4):
        if url is None:
            break
        reply = org.get(url)
        seen += [row["run_id"] for row in ok(reply)]
        following = reply.links.get("next")
        url = following["url"] if following else None
    assert url is None
    assert seen == made[::-1]


def test_the_link_keeps_the_filters(org, unique) -> None:
    thread = unique("thread")
    for _ in range(3):
        create_run(org, thread)
    link = org.get("/v1/runs", params={"limit": 2, "thread_id": thread, "status": "queued"}).links["next"]["url"]
    query = parse_qs(urlsplit(link).query)
    assert query["thread_id"] == [thread]
    assert query["status"] == ["queued"]
    assert query["limit"] == ["2"]
    assert len(ok(org.get(link))) == 1


@pytest.mark.parametrize("before", ["nonsense", "0189d3f0-0000-7000-8000-00000000dead", "-1", "%00"])
def test_a_bad_cursor_is_refused(org, before) -> None:
    reply = org.get(f"/v1/runs?before={before}")
    assert reply.status_code == 422, reply.text
    assert reply.json()["code"] == "validation.failed"
    assert "before" in reply.json()["details"]


@pytest.fixture
def one_of_each(org, unique) -> dict[str, str]:
    """Status → the id of the one run that has it."""
    made = {"queued": create_run(org, unique("thread"))["run_id"]}
    for status in ["running", "completed", "failed", "waiting_for_input", "cancelling"]:
        made[status] = held_run(org, unique("thread"), "w")
    complete(org, made["completed"], "w")
    fail(org, made["failed"], "w", "it broke")
    report(org, made["waiting_for_input"], "w", {"type": "run.waiting_for_input", "payload": {"question": "go?"}})
    cancel(org, made["cancelling"])
    made["cancelled"] = create_run(org, unique("thread"))["run_id"]
    cancel(org, made["cancelled"])
    thread = unique("thread")
    save_batch(org, started(thread, "tr"), ended(thread, "thread_budget_exceeded", run_cost_usd=2.0, budget_usd=1.0))
    made["budget_exceeded"] = newest_run_of(org, thread)
    return made


def test_every_status_is_a_filter(org, one_of_each) -> None:
    for status, run_id in one_of_each.items():
        rows = ok(org.get("/v1/runs", params={"status": status}))
        assert [(row["run_id"], row["status"]) for row in rows] == [(run_id, status)], status
    assert ids(org, status="lost") == []
    assert ids(org, status="success") == [one_of_each["completed"]]
    assert ids(org, status="error") == [one_of_each["failed"]]
    assert set(one_of_each) | {"lost"} == STATUSES


@pytest.mark.parametrize("status", ["done", "RUNNING", "running,failed", "%00", "nil"])
def test_another_status_word_is_refused(org, status) -> None:
    reply = org.get(f"/v1/runs?status={status}")
    assert reply.status_code == 422, reply.text
    assert "status" in reply.json()["details"]


def test_every_other_filter(org, unique) -> None:
    agent, thread = unique("agent"), unique("thread")
    step(org, unique("sdk"), "run_start", {"thread_id": thread, "input": "find the needle"}, agent_name=agent)
    wanted = newest_run_of(org, thread)
    sdk_run = unique("sdk")
    step(org, sdk_run, "run_start", {"input": "hay"}, agent_name=unique("other"))
    step(org, sdk_run, "run_end", {"model": "gpt-4"})
    other = newest_run_of(org, sdk_run)
    child = create_run(org, unique("thread"), parent_run_id=wanted)["run_id"]
    assert ids(org, agent=agent) == [wanted]
    assert ids(org, thread_id=thread) == [wanted]
    assert ids(org, model="gpt-4") == [other]
    assert ids(org, parent_run_id=wanted) == [child]
    assert ids(org, persona_id="nobody@1") == []
    assert ids(org, agent=agent, thread_id=thread, status="running") == [wanted]
    assert ids(org, agent=agent, model="gpt-4") == []
    assert ids(org, agent=unique("nobody")) == []
    assert ids(org, thread_id=unique("nowhere")) == []
    assert ids(org, q=thread) == [wanted]
    assert ids(org, q=unique("nothing-like-it")) == []


def test_since_and_until_bound_the_creation(org, unique) -> None:
    first, last = (create_run(org, unique("thread"))["run_id"] for _ in range(2))
    created = {row["run_id"]: row["created_at"] for row in ok(org.get("/v1/runs"))}
    assert set(ids(org, since="2020-01-01T00:00:00Z")) == {first, last}
    assert ids(org, since="2120-01-01T00:00:00Z") == []
    assert ids(org, until="2020-01-01T00:00:00Z") == []
    assert last in ids(org, since=created[last])
    assert set(ids(org, since="2020-01-01T00:00:00+02:00", until="2120-01-01T00:00:00.000Z")) == {first, last}


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("value", ["yesterday", "2026-13-01T00:00:00Z", "1e400"])
def test_a_bad_time_is_refused(org, name, value) -> None:
    reply = org.get("/v1/runs", params={name: value})
    assert reply.status_code == 422, reply.text
    assert name in reply.json()["details"]
