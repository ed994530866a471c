"""`towerlog prices` and `towerlog reprice` against a real server; and what other commands show of computed costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.serving import asking, lines, told_json
from tests.sdk.served import unique
from tests.support.server import NO_LIMITS, Server
from towerlog.cli.formatting import cost_cell, cost_words


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


def called(server: Server, model: str, tokens: int, **data: Any) -> str:
    """The run id of a run with one model call, which told no cost."""
    run_key = unique("run")
    told = {"model": model, "input_tokens": tokens, "output_tokens": 0, **data}
    event = {"type": "model.call", "run_key": run_key, "event_id": "e", "client_seq": 1, "agent": "a", "data": told}
    reply = server.client().post("/api/v1/events", json={"client_id": run_key, "events": [event]})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["results"][0]["run_id"])


def test_prices_are_set_listed_and_removed(server) -> None:
    model = unique("model")
    said = "\n".join(lines(server, "prices", "set", model, "--input", "0.1", "--output", "2.5", "--provider", "me"))
    assert f"{model} at input $0.1, output $2.5 for a million tokens." in said
    [price] = [one for one in told_json(server, "prices", "ls")["data"] if one["model"] == model]
    assert (price["provider"], price["usd_per_million"]["cached_input"]) == ("me", None)
    [line] = [line for line in lines(server, "prices", "ls") if model in line]
    assert "$2.5" in line
    begins = price["price_id"][:30]
    assert f"Price removed: {model}" in "\n".join(lines(server, "prices", "rm", begins))
    assert model not in "\n".join(lines(server, "prices", "ls"))
    again = asking(server, "prices", "rm", begins)
    assert (again.exit_code != 0, "There is no price" in again.output) == (True, True)
    assert asking(server, "prices", "set", model, "--input", "-1").exit_code == 2


def test_a_run_and_the_usage_say_where_a_cost_comes_from(server) -> None:
    model = unique("house")
    run_id = called(server, model, 1000)
    assert "1 call unpriced" in "\n".join(lines(server, "runs", "show", run_id))
    lines(server, "prices", "set", model, "--input", "3")
    priced = called(server, model, 1000)
    [cost] = [line for line in lines(server, "runs", "show", priced) if line.startswith("cost")]
    assert "$0.0030 (computed with price " in cost
    [row] = [row for row in told_json(server, "usage", "--by", "model")["data"] if row["model"] == model]
    assert (row["cost_usd"], row["cost_source"], row["unpriced_calls"]) == (0.003, "computed", 1)
    heads, *_ = lines(server, "usage", "--by", "model")
    assert "UNPRICED" in heads


def test_what_changes_is_shown_and_written_once_it_is_agreed_to(server) -> None:
    model = unique("cheap")
    run_id = called(server, model, 1_000_000)
    lines(server, "prices", "set", model, "--input", "2")
    ask = ("reprice", "--since", "1h", "--model", model)
    dry = "\n".join(lines(server, *ask, "--dry-run"))
    assert "unpriced" in dry
    assert "1 change, in all +$2.00." in dry
    refused = asking(server, *ask, stdin="n\n")
    assert (refused.exit_code, "written" in refused.stdout) == (0, False)
    assert told_json(server, *ask, "--dry-run")["written"] == 0
    assert "1 change written." in asking(server, *ask, stdin="y\n").stdout
    assert told_json(server, "runs", "show", run_id)["total_cost_usd"] == 2
    assert "Nothing changes." in "\n".join(lines(server, *ask))
    lines(server, "prices", "set", model, "--input", "0.5")
    done = asking(server, *ask, "--yes", "--json")
    found = json.loads(done.stdout)
    assert (found["difference_usd"], found["written"], len(found["data"])) == (-1.5, 1, 1)
    assert told_json(server, "runs", "show", run_id)["total_cost_usd"] == 0.5


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ((0.008, "computed", "list 1", 0), "$0.0080 (computed with list 1)"),
        ((2.5, "mixed", "several", 1), "$2.50 (partly computed with several), 1 call unpriced"),
        ((2.5, "reported", None, 0), "$2.50"),
        ((None, None, None, 2), "2 calls unpriced"),
        ((None, None, None, 0), ""),
    ],
)
def test_a_cost_in_words(told: Any, words: str) -> None:
    assert cost_words(*told) == words


@pytest.mark.parametrize(
    ("dollars", "unpriced", "shown"),
    [(0.0035, 0, "$0.0035"), (0.0035, 1, "$0.0035+"), (None, 1, "unpriced"), (None, 0, ""), (0, 2, "$0.00+")],
)
def test_a_cost_in_a_table_shows_that_it_leaves_something_out(dollars: float | None, unpriced: int, shown: str) -> None:
    assert cost_cell(dollars, unpriced) == shown
