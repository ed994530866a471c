"""The guard against URLs that somebody chose to reach what is not theirs: none opens a connection.

`hostile_urls.json` has them: why, the URL (`{port}` is the listener's), the failure, and what the resolver says for its
host (`answers`; no such name without). Those that are `open` do reach the listener once the operator allows everything,
which shows that the listener would have seen them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import towerlog.egress.http
from tests.egress.receivers import EVERYWHERE, ORG, Receiver, outside, receiving, resolving, saying, watching
from tests.support.ports import HeldPort
from towerlog.egress.http import Poster
from towerlog.egress.lookups import Resolve
from towerlog.egress.outcomes import EgressFailure, HttpAnswer, Undelivered

CORPUS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "hostile_urls.json").read_text("utf-8"))
OPEN = [entry for entry in CORPUS if entry.get("open")]


def resolver(asked: list[str] | None = None) -> Resolve:
    """Says what the corpus has for each host."""
    names = {
        entry["url"].split("/")[2].rpartition(":")[0].lower() or entry["url"].split("/")[2]: entry["answers"]
        for entry in CORPUS
        if "answers" in entry
    }
    return resolving({**names, "meta.hooks.example.net": ["169.254.169.254"]}, asked)


async def post(poster: Poster, url: str, receiver: Receiver) -> HttpAnswer | Undelivered:
    return await poster.post(url.replace("{port}", str(receiver.port)), b"{}", {}, org_id=ORG)


def test_the_corpus_is_large_and_each_is_there_once() -> None:
    assert len(CORPUS) >= 100
    assert len({entry["url"] for entry in CORPUS}) == len(CORPUS)
    assert len(OPEN) >= 10


async def test_no_hostile_url_opens_a_connection() -> None:
    poster = outside(resolver(), egress_allow="").poster
    failed = []
    async with receiving(host=EVERYWHERE) as receiver:
        with watching() as watch:
            for entry in CORPUS:
                outcome = await post(poster, entry["url"], receiver)
                if not isinstance(outcome, Undelivered) or outcome.failure != entry["failure"]:
                    failed.append((entry["url"], outcome))
            connects = list(watch.connects)
        # Connections are accepted in order: one that had come before would be there by now.
        marked = await post(outside().poster, "http://127.0.0.1:{port}/", receiver)
        assert isinstance(marked, HttpAnswer)
        assert receiver.count == 1
    assert failed == []
    assert connects == []


@pytest.mark.parametrize("entry", OPEN, ids=[entry["url"] for entry in OPEN])
async def test_what_is_open_reaches_the_listener_once_everything_is_allowed(entry: dict[str, Any]) -> None:
    poster = outside(resolver(), egress_allow="0.0.0.0/0,::/0").poster
    async with receiving(host=EVERYWHERE) as receiver:
        outcome = await post(poster, entry["url"], receiver)
        assert isinstance(outcome, HttpAnswer), outcome
        assert receiver.count == 1


class Rebinding:
    """A resolver whose answers change each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0)


async def test_a_name_that_changes_its_address_is_connected_to_at_the_checked_one(held_port: HeldPort) -> None:
    resolve = Rebinding(["127.0.0.2"], ["127.0.0.1"])
    poster = outside(resolve, egress_allow="127.0.0.2").poster
    async with (
        receiving(saying(b"HTTP/1.1 204 \r\n\r\n"), host="127.0.0.2", port=held_port.number) as public,
        receiving(host="127.0.0.1", port=held_port.number) as inside,
    ):
        with watching() as watch:
            first = await post(poster, "http://rebind.example.net:{port}/", public)
            assert resolve.asked == 1
            second = await post(poster, "http://rebind.example.net:{port}/", public)
        assert isinstance(first, HttpAnswer)
        assert first.status == 204
        assert isinstance(second, Undelivered)
        assert second.failure is EgressFailure.FORBIDDEN_ADDRESS
        assert (public.count, inside.count) == (1, 0)
        assert watch.connects == [("127.0.0.2", public.port)]
        assert watch.lookups == []
        assert public.connections[0].headers["host"] == f"rebind.example.net:{public.port}"


@pytest.mark.parametrize("answers", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "::1"]])
async def test_of_a_mixed_answer_nothing_is_connected_to(answers: list[str]) -> None:
    poster = outside(resolving({"mixed.example.net": answers}), egress_allow="127.0.0.2").poster
    async with receiving(host=EVERYWHERE) as receiver:
        with watching() as watch:
            outcome = await post(poster, "http://mixed.example.net:{port}/", receiver)
        assert isinstance(outcome, Undelivered)
        assert outcome.failure is EgressFailure.FORBIDDEN_ADDRESS
        assert (receiver.count, watch.connects) == (0, [])


async def test_this_machines_own_addresses_are_refused_whatever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towerlog.egress.http, "why_forbidden", lambda address: None)
    poster = outside(egress_allow="").poster
    async with receiving(host=EVERYWHERE) as receiver:
        for host in ("127.0.0.1", "[::1]"):
            outcome = await post(poster, f"http://{host}:{{port}}/", receiver)
            assert isinstance(outcome, Undelivered)
            assert "this machine's own" in outcome.words
        assert receiver.count == 0


@pytest.mark.parametrize(
    ("allow", "url", "reached"),
    [
        ("hooks.corp.example", "http://hooks.corp.example:{port}/", True),
        ("hooks.corp.example", "http://other.corp.example:{port}/", False),
        ("127.0.0.1", "http://127.0.0.1:{port}/", True),
        ("127.0.0.1", "http://other.corp.example:{port}/", True),
        ("127.0.0.1", "http://db:{port}/", True),
        ("127.0.0.2", "http://127.0.0.1:{port}/", False),
        ("db", "http://db:{port}/", True),
        ("db", "http://127.0.0.1:{port}/", False),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]:{port}/", False),
    ],
)
async def test_what_the_operator_lets_through(allow: str, url: str, reached: bool) -> None:
    names = {name: ["127.0.0.1"] for name in ("hooks.corp.example", "other.corp.example", "db")}
    poster = outside(resolving(names), egress_allow=allow).poster
    async with receiving(host=EVERYWHERE) as receiver:
        outcome = await post(poster, url, receiver)
        assert isinstance(outcome, HttpAnswer) is reached, outcome
        assert receiver.count == reached


async def test_a_name_of_the_own_network_is_not_even_looked_up() -> None:
    asked: list[str] = []
    poster = outside(resolver(asked), egress_allow="").poster
    outcome = await poster.post("http://metadata.google.internal/", b"", {}, org_id=ORG)
    assert isinstance(outcome, Undelivered)
    assert (outcome.is_final, asked) == (True, [])


async def test_the_words_of_a_refusal_do_not_tell_the_address_that_was_found() -> None:
    poster = outside(resolving({"a.example.net": ["10.20.30.40"]}), egress_allow="").poster
    outcome = await poster.post("http://a.example.net/", b"", {}, org_id=ORG)
    assert isinstance(outcome, Undelivered)
    assert "10.20.30.40" not in outcome.words
    assert "private (RFC 1918)" in outcome.words
    assert "TOWERLOG_EGRESS_ALLOW" in outcome.words
