"""Search by words on a running server: what is found through each dialect, by whom, and until when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import create_run, ok
from tests.support.senders import tell
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A server of this test's own: its files are looked through, and its log is rebuilt."""
    with Server(tmp_path / "data", NO_LIMITS) as server:
        yield server


def found(client: httpx2.Client, q: str) -> list[str]:
    """The agents of the runs that a search finds."""
    page = ok(client.get("/api/v1/runs", params={"q": q}))
    assert (page["next"], page["searched_to"]) == (None, None)
    return [run["agent"] for run in page["data"]]


def fill(client: httpx2.Client) -> None:
    """Runs that say something in each place."""
    tell(client, "run_start", "one", {"input": {"topic": "Leaning TOWERS", "page": 4711}}, agent_name="one")
    tell(client, "step", "one", {"node_name": "stepword"})
    tell(client, "human_input_requested", "one", {"question": "Shall I climb?"})
    [row] = ok(client.get("/api/v1/runs", params={"q": "climb"}))["data"]
    ok(client.post(f"/v1/runs/{row['run_id']}/input", json={"content": "Only by lift, please"}))
    tell(client, "run_end", "one", {"output": {"answer": 'It leans by "four" degrees'}})
    tell(client, "run_start", "two", {"input": "towers again"}, agent_name="two")
    tell(client, "error", "two", {"error_type": "IOError", "error_message": "no paper left"})
    create_run(client, "three", agent="three", input="words", metadata={"ticket": "T-81f3", "labels": {"team": "ops"}})


def test_words_are_found_wherever_they_were_said(own: Server) -> None:
    client = own.client()
    fill(client)
    for q, agents in {
        "towers": ["two", "one"],
        "TOWERS leaning": ["one"],
        "4711": ["one"],
        "climb lift": ["one"],
        '"four"': ["one"],
        "paper": ["two"],
        "t-81f3 ops": ["three"],
        "topic": [],
        "stepword": [],
        "towers paper lift": [],
    }.items():
        assert found(client, q) == agents, q
    listed = own.cli("runs", "ls", "--query", "leaning lift", "--json")
    assert listed.returncode == 0, listed.stderr
    assert '"agent": "one"' in listed.stdout or '"agent":"one"' in listed.stdout


def test_an_erased_run_is_found_no_more_and_its_words_are_nowhere(own: Server) -> None:
    client = own.client()
    fill(client)
    run_id = ok(client.get("/api/v1/runs", params={"q": "leaning"}))["data"][0]["run_id"]
    ok(client.delete(f"/api/v1/runs/{run_id}"))
    for q in ("leaning", "4711", "climb", "lift", "four"):
        assert found(client, q) == [], q
    assert found(client, "paper") == ["two"]
    for word in ("leaning towers", "only by lift"):
        wait_until(lambda word=word: not own.places_of(word), f"{word!r} to be overwritten")
    own.stop()
    verified = own.cli("verify")
    assert verified.returncode == 0, verified.stdout


def test_a_rebuild_finds_the_same(own: Server) -> None:
    fill(own.client())
    own.stop()
    assert own.cli("rebuild").returncode == 0
    assert own.cli("verify").returncode == 0
    own.start()
    assert found(own.client(), "leaning lift") == ["one"]
    assert found(own.client(), "paper") == ["two"]


def test_a_search_says_where_it_has_found_the_words(own: Server) -> None:
    client = own.client()
    fill(client)
    for q, place, words in (
        ("climb", "talk", "shall i climb?"),
        ("degrees", "result", 'it leans by "four" degrees'),
        ("leaning", "input", "leaning towers 4711"),
        ("paper", "about", "no paper left"),
        ("three", "agent", "three"),
    ):
        page = ok(client.get("/api/v1/runs", params={"q": q}))
        [run] = page["data"]
        hit = page["found"][run["run_id"]]
        assert (hit["place"], words in hit["excerpt"]) == (place, True), hit
    assert ok(client.get("/api/v1/runs"))["found"] is None
    assert ok(client.get("/api/v1/runs", params={"q": "castle"}))["found"] == {}
