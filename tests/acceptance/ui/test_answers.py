"""Questions with a schema are answered by what they ask for; what needs a person is one card a matter, risks first."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.senders import tell
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow


def _ask(client: httpx2.Client, name: str, question: str, **terms: Any) -> str:
    """The id of a run that asks."""
    tell(client, "run_start", name, {"input": "x"}, agent_name=name)
    tell(client, "human_input_requested", name, {"question": question, **terms})
    return str(client.get("/api/v1/runs", params={"agent": name}).json()["data"][0]["run_id"])


def _answer(client: httpx2.Client, run_id: str) -> str:
    events = client.get(f"/api/v1/runs/{run_id}/events", params={"type": "run.input"}).json()["data"]
    return str(events[0]["data"]["content"])


def _card(page: Page, question: str) -> Locator:
    return page.locator("li").filter(has_text=question)


def _gone(card: Locator) -> None:
    """It was answered: what is left of it holds its place, and nothing in it can be pressed."""
    expect(card.get_by_role("status")).to_contain_text("has answered")
    expect(card.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("width", [1440, 360])
def test_a_schema_is_answered_without_a_word_of_json(
    screen: OpenScreen, server: Server, seeds: Seeds, width: int
) -> None:
    client = server.client()
    flat = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "amount": {"type": "integer", "maximum": 100}},
        "required": ["amount"],
    }
    word = _ask(client, f"word-{width}", f"Your name {width}?", schema={"type": "string", "minLength": 2})
    colour = _ask(client, f"colour-{width}", f"Which colour {width}?", schema={"enum": ["red", "green"]})
    sure = _ask(client, f"sure-{width}", f"Sure {width}?", schema={"type": "boolean"})
    refund = _ask(client, f"refund-{width}", f"How much {width}?", schema=flat)
    page = screen("/approvals", width=width).ready("Approvals").page
    card = _card(page, f"Your name {width}?")
    card.get_by_label("Answer").fill("Ada Lovelace")
    card.get_by_role("button", name="Answer").click()
    _gone(card)
    _card(page, f"Which colour {width}?").get_by_role("button", name="green").click()
    _card(page, f"Sure {width}?").get_by_role("button", name="Yes").click()
    _gone(_card(page, f"Sure {width}?"))
    card = _card(page, f"How much {width}?")
    card.get_by_label("amount").fill("5")
    card.get_by_label("name").fill("Ada")
    card.get_by_role("button", name="Answer").click()
    _gone(card)
    answers = [_answer(client, run_id) for run_id in (word, colour, sure, refund)]
    assert answers == ['"Ada Lovelace"', '"green"', "true", '{"name":"Ada","amount":5}']


def test_what_does_not_fit_is_said_by_the_server(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    _ask(server.client(), "strict", "How many?", schema={"type": "integer", "maximum": 100})
    one = screen("/approvals").ready("Approvals")
    card = _card(one.page, "How many?")
    card.get_by_label("Answer").fill("500")
    card.get_by_role("button", name="Answer").click()
    expect(card.get_by_role("alert")).to_contain_text("500 is greater than the maximum of 100")
    one.faults = [fault for fault in one.faults if "422" not in fault]


def test_now_shows_a_matter_once_and_the_risky_first(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    rule = {"name": "waits long", "trigger": "waiting_too_long", "config": {"minutes": 0.001}, "cooldown_minutes": 0}
    client.post("/api/v1/alert-rules", json=rule).raise_for_status()
    run_id = _ask(client, "risky", "Delete all of it?", risk="critical")

    def fired() -> bool:
        alerts = client.get("/api/v1/alerts", params={"state": "ALERT", "limit": 200}).json()["data"]
        return any(alert["run_id"] == run_id and alert["trigger"] == "waiting_too_long" for alert in alerts)

    wait_until(fired, "the alert has fired")
    page = screen("/", width=360).ready("Now").page
    cards = page.locator("ul.needs > li")
    expect(cards.first).to_contain_text("Delete all of it?")
    expect(cards.first).to_contain_text("critical risk")
    expect(cards.first).to_contain_text("waits long")
    expect(_card(page, "Delete all of it?")).to_have_count(1)
    cards.first.get_by_role("button", name="Acknowledge").click()
    expect(cards.first).not_to_contain_text("waits long")
    expect(cards.first).to_contain_text("Delete all of it?")
    cards.first.get_by_label("Answer").fill("no")
    cards.first.get_by_role("button", name="Answer").click()
    cards.first.get_by_role("button", name="yes, at critical risk").click()
    _gone(_card(page, "Delete all of it?"))


def test_a_tool_call_is_one_line(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen(f"/runs/{seeds.runner}").ready("researcher").page
    expect(page.get_by_label("What the agent asks").locator("summary").first).to_have_text(
        "shell(command: rm -r build)"
    )


@pytest.mark.parametrize("path", ["/approvals", "/", "/runs/{run_id}"])
def test_what_was_half_written_stays_when_another_answers(
    screen: OpenScreen, server: Server, seeds: Seeds, path: str
) -> None:
    client, question = server.client(), f"Half of it at {path}?"
    run_id = _ask(client, f"half {len(path)}", question)
    page = screen(path.format(run_id=run_id)).page
    card = page.locator("li, section").filter(has_text=question).last
    card.get_by_label("Answer", exact=True).fill("I would rather")
    (mine,) = client.get("/api/v1/approvals", params={"run_id": run_id}).json()["data"]
    client.post(f"/api/v1/approvals/{mine['approval_id']}", json={"content": "no"}).raise_for_status()
    expect(card.get_by_role("status")).to_contain_text("admin has answered")
    expect(card.get_by_role("status").locator("time")).to_be_visible()
    expect(card.get_by_label("What you had written")).to_have_value("I would rather")
    expect(card.get_by_label("Answer", exact=True)).to_have_count(0)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    card.get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == "I would rather"
    card.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_label("What you had written")).to_have_count(0)


def test_a_question_without_a_word_written_goes_by_itself(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    run_id = _ask(client, "unwritten", "Nothing written?")
    page = screen("/approvals").ready("Approvals").page
    card = _card(page, "Nothing written?")
    card.get_by_label("Answer").fill("x")
    card.get_by_label("Answer").fill("")
    (mine,) = client.get("/api/v1/approvals", params={"run_id": run_id}).json()["data"]
    client.post(f"/api/v1/approvals/{mine['approval_id']}", json={"content": "no"}).raise_for_status()
    _gone(card)


@pytest.mark.parametrize("risk", ["high", "critical"])
def test_a_high_risk_is_asked_for_once_more_whatever_the_answer_is(
    screen: OpenScreen, server: Server, seeds: Seeds, risk: str
) -> None:
    client = server.client()
    fields = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
    wanted = {"words": None, "number": {"type": "integer"}, "fields": fields}
    runs = {
        name: _ask(
            client, f"{risk}-{name}", f"Sure of {risk} {name}?", risk=risk, **({"schema": schema} if schema else {})
        )
        for name, schema in wanted.items()
    }
    page = screen("/approvals").ready("Approvals").page
    for name, run_id in runs.items():
        card = _card(page, f"Sure of {risk} {name}?")
        card.get_by_label("amount" if name == "fields" else "Answer").fill("12")
        card.get_by_role("button", name="Answer", exact=True).click()
        sure = card.get_by_role("button", name=f"yes, at {risk} risk")
        expect(sure).to_contain_text("12")
        card.get_by_role("button", name="Back").click()
        expect(sure).to_have_count(0)
        assert client.get(f"/api/v1/runs/{run_id}").json()["status"] == "waiting_for_input"
        # What was written is there still.
        card.get_by_role("button", name="Answer", exact=True).click()
        sure.click()
        _gone(card)
        assert "12" in _answer(client, run_id)
