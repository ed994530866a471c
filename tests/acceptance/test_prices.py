"""Costs that nobody told: computed from a list and from prices of one's own, and shown as such by every reader."""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.acceptance.feeds import Json, ok
from tests.support.readback import ReadBack
from tests.support.senders import checkpoint, push_activity, save_batch, tell

LISTED = "genai-prices "


@functools.cache
def first_day() -> date:
    """Of those on which something is used here: a month ago, since usage is added up over a year at most, up to now."""
    return datetime.now(UTC).date() - timedelta(days=30)


def on(day: int, time: str = "12:00:00") -> str:
    """A time of a day, by its number from 1."""
    return f"{first_day() + timedelta(days=day - 1)}T{time}Z"


@pytest.fixture
def org(server, unique: Unique) -> httpx2.Client:
    """A client of an organisation that has spent nothing yet."""
    client: httpx2.Client = server.client(server.make_org(unique("org"))[1])
    return client


def call(client: httpx2.Client, number: int, run_key: str = "r", **data: Any) -> None:
    """A model call by the native API, of the agent `a`."""
    event = {
        "type": "model.call", "run_key": run_key, "event_id": f"e{number}", "client_seq": number,
        "agent": data.pop("agent", "a"), "data": data, "time": data.pop("time", on(1)),
    }  # fmt: skip
    ok(client.post("/api/v1/events", json={"client_id": f"c-{run_key}", "events": [event]}))


def told(row: Json, cost: str = "cost_usd") -> tuple[Any, ...]:
    """Cost, source and what is unpriced of a row."""
    return row[cost], row["cost_source"], row["unpriced_calls"]


def run_of(client: httpx2.Client) -> Json:
    """The only run."""
    [row] = ok(client.get("/api/v1/runs"))["data"]
    found: Json = ok(client.get(f"/api/v1/runs/{row['run_id']}"))
    return found


def usage(client: httpx2.Client, by: str = "model", **span: str) -> dict[Any, tuple[Any, ...]]:
    """What is told of each model or agent; `span`: not up to now."""
    rows = ok(client.get("/api/v1/usage", params={"by": by, "since": on(-1)} | span))["data"]
    return {row[by]: told(row) for row in rows}


def test_a_call_without_a_cost_is_priced_by_the_list(org) -> None:
    """A million: $2.50 in, $1.25 cached, $10 out. 1,000 + 2,000 cached in, 300 out: 0.0025 + 0.0025 + 0.003."""
    figures = {"input_tokens": 1000, "cached_input_tokens": 2000, "output_tokens": 300}
    call(org, 1, model="gpt-4o", provider="openai", **figures)
    run = run_of(org)
    assert told(run, "total_cost_usd") == (0.008, "computed", 0)
    assert run["price_version"].startswith(LISTED)
    assert told(run["tree"], "total_cost_usd") == (0.008, "computed", 0)
    assert usage(org) == {"gpt-4o": (0.008, "computed", 0)}
    [agent] = ok(org.get("/api/v1/agents"))["data"]
    assert (told(agent), agent["price_version"]) == ((0.008, "computed", 0), run["price_version"])
    events = ok(org.get(f"/api/v1/runs/{run['run_id']}/events"))["data"]
    [event] = [one for one in events if one["type"] == "model.call"]
    assert (event["cost_usd"], event["cost_source"]) == (0.008, "computed")
    assert "cost_usd" not in event["data"], "what was sent stays as it was sent"


def test_what_nobody_knows_a_price_of_is_unpriced_and_never_0(org) -> None:
    call(org, 1, model="in-house-7b", input_tokens=10, output_tokens=5)
    assert told(run_of(org), "total_cost_usd") == (None, None, 1)
    call(org, 2, model="gpt-4o", input_tokens=1000, output_tokens=0)
    call(org, 3, model="gpt-4o", input_tokens=1000, output_tokens=0, cost_usd=0.25)
    assert told(run_of(org), "total_cost_usd") == (0.2525, "mixed", 1)
    assert usage(org) == {"gpt-4o": (0.2525, "mixed", 0), "in-house-7b": (None, None, 1)}


@pytest.mark.parametrize("cost", [0.004, 0.02, 0])
def test_a_told_cost_of_the_run_takes_the_place_of_computed_ones(org, cost: float) -> None:
    """Computed: 0.01 for one agent, 0.0025 for the other."""
    call(org, 1, model="gpt-4o", input_tokens=0, output_tokens=1000)
    call(org, 2, model="gpt-4o", input_tokens=1000, output_tokens=0, agent="b")
    call(org, 3, model="in-house-7b", input_tokens=1000, output_tokens=0, agent="b")
    assert told(run_of(org), "total_cost_usd") == (0.0125, "computed", 1)
    sdk_run = run_of(org)["foreign_id"]
    assert sdk_run is not None
    run_id = run_of(org)["run_id"]
    tell(org, "run_end", run_id, {"cost_usd": cost})
    run = run_of(org)
    assert (run["total_cost_usd"], run["unpriced_calls"], run["price_version"]) == (cost, 0, None)
    for by in ("model", "agent", "hour"):
        assert sum(row[0] or 0 for row in usage(org, by).values()) == pytest.approx(cost, abs=1e-12), by
        assert all((row[0] or 0) >= 0 and row[2] == 0 for row in usage(org, by).values()), by


def test_dialects_that_tell_totals_and_pushes_are_priced_too(org, unique: Unique) -> None:
    """A runner's checkpoints with the figures of each turn, an SDK's end, a push of a gateway."""
    back, thread = ReadBack(org), unique("thread")
    turns = ((1000, 100, 1100), (2000, 200, 3300))
    for step, (inputs, outputs, total) in enumerate(turns):
        given = {"input_tokens": inputs, "output_tokens": outputs, "tokens_used": total, "model": "gpt-4o"}
        save_batch(org, checkpoint(thread, "t", step, agent_id="runner", **given))
    assert told(back.detail(back.run(thread)["run_id"]), "total_cost_usd") == (0.0105, "computed", 0)
    tell(org, "run_start", "s", agent_name="sdk")
    tell(
        org,
        "run_end",
        "s",
        {"prompt_tokens": 1000, "completion_tokens": 100, "model": "openai/gpt-4o"},
        agent_name="sdk",
    )
    pushed = {"model_name": "gpt-4o", "input_tokens": 1000, "output_tokens": 0, "thread_id": unique("pushed")}
    reply = push_activity(org, back.agent_id("sdk"), {"type": "inference_complete", "metadata": pushed})
    assert reply.status_code == 200
    shown = {agent["name"]: told(agent) for agent in ok(org.get("/api/v1/agents"))["data"]}
    assert shown == {"runner": (0.0105, "computed", 0), "sdk": (0.006, "computed", 0)}
    summaries = [event["output_summary"] for event in back.activity(back.agent_id("sdk"))]
    assert [summary.split(", ")[1] for summary in summaries] == ["$0.0035", "$0.0025"]


def make(client: httpx2.Client, model: str = "gpt-4o", **more: Any) -> Json:
    """A price of one dollar for a million of input, two for output."""
    body = {"model": model, "usd_per_million": {"input": 1, "output": 2}} | more
    made: Json = ok(client.post("/api/v1/prices", json=body), 201)
    return made


def test_a_price_is_made_listed_and_deleted(org) -> None:
    rates = {"input": 0.0375, "cached_input": 0.01, "cache_write": None, "output": 12.5, "reasoning": None}
    rates |= {"cache_write_1h": 0.06, "input_audio": None, "cached_audio": None, "output_audio": 20}
    made = make(org, "My-Model-*", usd_per_million=rates, provider=" Azure ", valid_from="2026-06-01T00:00:00Z")
    assert made | {"price_id": None, "created_at": None, "price_version": None} == {
        "model": "my-model-*", "provider": "azure", "valid_from": "2026-06-01T00:00:00.000Z",
        "usd_per_million": rates, "price_id": None, "created_at": None, "price_version": None,
    }  # fmt: skip
    others = [make(org, f"m{number}")["price_id"] for number in range(3)]
    first = ok(org.get("/api/v1/prices", params={"limit": 2}))
    rest = ok(org.get("/api/v1/prices", params={"limit": 2, "cursor": first["next"]}))
    listed = [price["price_id"] for price in (*first["data"], *rest["data"])]
    assert (listed, rest["next"]) == ([*reversed(others), made["price_id"]], None)
    path = f"/api/v1/prices/{made['price_id']}"
    assert ok(org.get(path)) == made
    assert ok(org.delete(path)) == made
    assert (org.get(path).status_code, org.delete(path).status_code) == (404, 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model": " "}, "model"),
        ({"model": "m" * 201}, "model"),
        ({"model": "m\nm"}, "model"),
        ({"model": "a*b*c*d*e*"}, "model: has more than 4 `*`"),
        ({"model": "*a?b*"}, "model: has a `?` between two `*`"),
        ({"usd_per_million": {}}, "usd_per_million"),
        ({"usd_per_million": {"input": None}}, "usd_per_million.input"),
        ({"usd_per_million": {"input": -1}}, "usd_per_million.input"),
        ({"usd_per_million": {"input": "1"}}, "usd_per_million.input"),
        ({"usd_per_million": {"input": 1, "output": 1e300}}, "usd_per_million.output"),
        ({"usd_per_million": {"input": 1, "output": 1000001}}, "usd_per_million.output"),
        ({"usd_per_million": {"input": 1, "images": 1}}, "usd_per_million"),
        ({"valid_from": "tomorrow"}, "valid_from"),
        ({"price_id": "mine"}, "price_id"),
    ],
)
def test_what_is_wrong_with_a_price_is_named(org, body: Json, field: str) -> None:
    reply = org.post("/api/v1/prices", json={"model": "m", "usd_per_million": {"input": 1}} | body)
    assert reply.status_code == 422
    assert field in reply.text


def test_ones_own_price_counts_from_its_time_on(org) -> None:
    """A million tokens each: $2.50 by the list, then $1 of one's own."""
    made = make(org, "gpt-*", valid_from=on(2, "00:00:00"))
    for number in (1, 2, 3):
        call(org, number, model="gpt-4o", input_tokens=1_000_000, output_tokens=0, time=on(number))
    run = run_of(org)
    assert (run["total_cost_usd"], run["price_version"]) == (4.5, "several")
    days = ok(org.get("/api/v1/usage", params={"by": "hour", "since": on(1)}))["data"]
    shown = [(day["hour"], day["cost_usd"], day["price_version"]) for day in days]
    [(_, _, listed), *own] = shown
    assert listed.startswith(LISTED)
    assert own == [(on(day, "12:00:00.000"), 1, made["price_version"]) for day in (2, 3)]


def test_budgets_count_computed_costs_and_what_is_taken_back(org) -> None:
    scopes = {"all": {"organisation": True}, "a": {"agent": "a"}, "b": {"agent": "b"}}
    for name, scope in scopes.items():
        ok(org.post("/api/v1/budgets", json={"name": name, "scope": scope, "amount_usd": 1}), 201)

    def spent() -> dict[str, float]:
        return {budget["name"]: budget["spent_usd"] for budget in ok(org.get("/api/v1/budgets"))["data"]}

    call(org, 1, model="gpt-4o", input_tokens=0, output_tokens=1000)
    call(org, 2, model="gpt-4o", input_tokens=1000, output_tokens=0, agent="b")
    assert spent() == {"all": 0.0125, "a": 0.01, "b": 0.0025}
    tell(org, "run_end", run_of(org)["run_id"], {"cost_usd": 0.001}, agent_name="a")
    shown = spent()
    assert shown["all"] == 0.001
    assert {name: cost for name, (cost, *_) in usage(org, "agent").items()} == {"a": shown["a"], "b": shown["b"]}
    ok(org.post("/api/v1/budgets", json={"name": "late", "scope": {"organisation": True}, "amount_usd": 1}), 201)
    assert spent()["late"] == 0.001


def reprice(client: httpx2.Client, **given: Any) -> list[Json]:
    """What changes, of all runs."""
    body = {"since": on(-1), "dry_run": True} | given
    page = ok(client.post("/api/v1/prices/reprice", json=body))
    assert (page["next"], page["dry_run"]) == (None, body["dry_run"])
    found: list[Json] = page["data"]
    return found


def test_costs_are_computed_anew_after_they_were_shown(org) -> None:
    """A million tokens of gpt-4o are $2.50 by the list and $1 by a price that comes later; those of in-house are $3."""
    call(org, 1, model="gpt-4o", input_tokens=1_000_000, output_tokens=0)
    call(org, 2, model="in-house-7b", input_tokens=1_000_000, output_tokens=0)
    call(org, 3, model="gpt-4o", input_tokens=1_000_000, output_tokens=0, cost_usd=2)
    assert reprice(org) == []
    cheaper = make(org)
    make(org, "in-house*", usd_per_million={"input": 3, "output": 3})
    changes = {change["model"]: change for change in reprice(org)}
    figures = ("old_usd", "new_usd", "difference_usd", "calls", "priced_calls")
    assert {model: tuple(change[name] for name in figures) for model, change in changes.items()} == {
        "gpt-4o": (2.5, 1, -1.5, 1, 0),
        "in-house-7b": (0, 3, 3, 1, 1),
    }
    assert changes["gpt-4o"]["price_version"] == cheaper["price_version"]
    assert told(run_of(org), "total_cost_usd") == (4.5, "mixed", 1), "nothing was written"
    assert reprice(org, model="gpt-*") == [changes["gpt-4o"]]
    assert reprice(org, until=on(1)) == []
    written = reprice(org, dry_run=False)
    assert {change["model"]: change for change in written} == changes
    assert told(run_of(org), "total_cost_usd") == (6, "mixed", 0)
    assert usage(org) == {"gpt-4o": (3, "mixed", 0), "in-house-7b": (3, "computed", 0)}
    assert reprice(org, dry_run=False) == []
    events = ok(org.get(f"/api/v1/runs/{run_of(org)['run_id']}/events"))["data"]
    kept = [(one["type"], one.get("cost_usd")) for one in events if one["type"] != "run.started"]
    assert sorted(kept, key=str)[:3] == [("cost.repriced", None), ("cost.repriced", None), ("model.call", 2)]
    assert ("model.call", 2.5) in kept, "the old figure stays in the log"
    data = next(one["data"] for one in events if one["type"] == "cost.repriced" and one["data"]["model"] == "gpt-4o")
    assert (data["old_usd"], data["new_usd"], data["hour"]) == (2.5, 1, on(1, "12:00:00.000"))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"since": None}, "since"),
        ({"since": "never"}, "since"),
        ({"until": "soon"}, "until"),
        ({"dry_run": "no"}, "dry_run"),
        ({"cursor": "?"}, "cursor"),
        ({"model": "?????"}, "model: has more than 4 `?`"),
        ({"agent": "a"}, "agent"),
    ],
)
def test_what_is_wrong_with_a_repricing_is_named(org, given: Json, field: str) -> None:
    reply = org.post("/api/v1/prices/reprice", json={"since": "2026-01-01T00:00:00Z", "dry_run": True} | given)
    assert reply.status_code == 422
    assert field in reply.text
    missing = org.post("/api/v1/prices/reprice", json={"since": "2026-01-01T00:00:00Z"})
    assert (missing.status_code, "dry_run" in missing.text) == (422, True)


PARTS = {
    "steps": {"cache_creation_input_tokens": 100_000, "cache_creation": {"ephemeral_1h_input_tokens": 100_000}},
    "native": {"cache_write_tokens": 100_000, "cache_write_1h_tokens": 100_000},
}
CLAUDE = "claude-sonnet-4-5"


def test_cache_writes_of_an_hour_have_their_price_whoever_tells_them(org, unique: Unique) -> None:
    """$6 for a million, not the $3.75 of five minutes; where the list has no price, none: never another's."""
    written = {"input_tokens": 0, "output_tokens": 0, **PARTS["native"]}
    call(org, 1, model=CLAUDE, provider="anthropic", **written)
    assert told(run_of(org), "total_cost_usd") == (0.6, "computed", 0)
    pushed = {
        "model_name": CLAUDE,
        "input_tokens": 100_000,
        "output_tokens": 0,
        "thread_id": unique("p"),
        **PARTS["steps"],
    }
    agent_id = ReadBack(org).agent_id("a")
    assert push_activity(org, agent_id, {"type": "inference_complete", "metadata": pushed}).status_code == 200
    assert usage(org) == {CLAUDE: (1.2, "computed", 0)}
    call(org, 2, model="gpt-4o", provider="openai", **written)
    assert usage(org)["gpt-4o"] == (None, None, 1)


def test_a_total_with_such_parts_is_unpriced_and_its_tokens_count(org, unique: Unique) -> None:
    """Which of them it adds to what calls have told is known to nobody."""
    tell(org, "run_start", "s", agent_name="sdk")
    tell(
        org, "run_end", "s",
        {"prompt_tokens": 100_000, "completion_tokens": 10, "model": CLAUDE, **PARTS["steps"]},
        agent_name="sdk",
    )  # fmt: skip
    run = run_of(org)
    assert told(run, "total_cost_usd") == (None, None, 1)
    assert (run["usage"]["cache_write_tokens"], run["total_input_tokens"]) == (100_000, 100_000)


def test_terms_have_the_price_of_the_list_and_no_other(org) -> None:
    """gpt-5 costs $1.25 for a million, half of that as flex, twice as priority."""
    for number, tier in enumerate(("default", "flex", "priority", "scale"), start=1):
        call(org, number, f"r{number}", model="gpt-5", provider="openai", input_tokens=1_000_000, output_tokens=0,
             service_tier=tier, time="2026-11-20T12:00:00Z")  # fmt: skip
    day = {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}
    assert usage(org, **day) == {"gpt-5": (4.375, "computed", 1)}


def test_a_call_that_was_served_in_one_part_of_the_world_has_no_price(org) -> None:
    """Anthropic takes 1.1 times the price there, which the list does not have; `global` is the usual one."""
    used = {"input_tokens": 1000, "cache_read_input_tokens": 0, "output_tokens": 300}
    for number, place in enumerate(("global", "us"), start=1):
        call(org, number, model=CLAUDE, provider="anthropic", usage={**used, "inference_geo": place})
    assert usage(org) == {CLAUDE: (0.0075, "computed", 1)}


def test_an_own_price_has_prices_of_parts_or_the_call_has_none(org) -> None:
    make(org, "house-*", usd_per_million={"input": 1, "output": 2, "input_audio": 30})
    spoken = {"model": "house-1", "input_tokens": 1_000_000, "output_tokens": 1000, "input_audio_tokens": 500_000}
    call(org, 1, **spoken)
    assert usage(org) == {"house-1": (15.502, "computed", 0)}
    call(org, 2, **spoken, output_audio_tokens=1)
    call(org, 3, **spoken, service_tier="flex")
    assert usage(org) == {"house-1": (15.502, "computed", 2)}


def test_the_list_that_comes_with_the_server_is_searched(org) -> None:
    found = ok(org.get("/api/v1/prices/listed", params={"q": "OpenAI gpt-4o-mini", "limit": 200}))
    [mini] = [one for one in found["data"] if (one["provider"], one["model"]) == ("openai", "gpt-4o-mini")]
    assert mini["usd_per_million"]["input"] == 0.15
    assert mini["price_version"].startswith(LISTED)
    first = ok(org.get("/api/v1/prices/listed", params={"limit": 3}))
    second = ok(org.get("/api/v1/prices/listed", params={"limit": 3, "cursor": first["next"]}))
    names = [(one["provider"], one["model"]) for one in first["data"] + second["data"]]
    assert names == sorted(set(names))
    assert len(names) == 6
