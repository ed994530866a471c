"""A press decides what was read: cards hold their places, what moves takes no press, one press decides once."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.senders import checkpoint, save_batch
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow
BOTH = pytest.mark.parametrize(("path", "heading"), [("/approvals", "Approvals"), ("/", "Now")])


def _wants(client: httpx2.Client, thread: str, risk: str | None = None) -> str:
    """The id of an approval for a tool call."""
    turn = {"history": [{"role": "user", "content": "drop it"}], "history_meta": [{}]}
    call = {"id": f"call-{thread}", "name": "drop", "arguments": {"database": thread}}
    waits = {**turn, "status": "waiting_for_approval", "pending_tool_calls": [call], "risk": risk}
    save_batch(
        client, checkpoint(thread, f"trace-{thread}", 1, **turn), checkpoint(thread, f"trace-{thread}", 2, **waits)
    )
    rows = client.get("/api/v1/approvals", params={"limit": 200}).json()["data"]
    return next(str(row["approval_id"]) for row in rows if row["thread_id"] == thread)


def _state(client: httpx2.Client, approval_id: str) -> str:
    return str(client.get(f"/api/v1/approvals/{approval_id}").json()["state"])


def _decide(client: httpx2.Client, approval_id: str, decision: str) -> None:
    client.post(f"/api/v1/approvals/{approval_id}", json={"decision": decision}).raise_for_status()


def _card(page: Page, approval_id: str) -> Locator:
    return page.locator(f'main li[data-id="{approval_id}"]')


def _approve(card: Locator) -> Locator:
    return card.get_by_role("button", name="Approve")


def _place(button: Locator) -> tuple[float, float]:
    """Its middle, once a press on it counts and it is on the screen."""
    button.scroll_into_view_if_needed()
    expect(button).to_be_enabled()
    box: Any = button.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@BOTH
def test_a_card_that_was_decided_keeps_its_place(
    screen: OpenScreen, server: Server, seeds: Seeds, path: str, heading: str
) -> None:
    client, name = server.client(), heading.lower()
    first, second = _wants(client, f"{name}-prod"), _wants(client, f"{name}-test")
    page = screen(path).ready(heading).page
    x, y = _place(_approve(_card(page, first)))
    page.mouse.move(x, y)
    before = _card(page, second).bounding_box()
    _decide(client, first, "deny")
    expect(_card(page, first).get_by_role("status")).to_contain_text("admin has denied it")
    expect(_approve(_card(page, first))).to_have_count(0)
    assert _card(page, second).bounding_box() == before
    page.mouse.click(x, y)
    late = _wants(client, f"{name}-late", risk="critical")
    expect(_card(page, late)).to_be_visible()
    assert _card(page, second).bounding_box() == before
    assert (_state(client, first), _state(client, second)) == ("denied", "open")
    page.mouse.move(1, 1)
    expect(_card(page, first)).to_have_count(0)
    for approval_id in (second, late):
        _decide(client, approval_id, "deny")


@pytest.mark.parametrize("pause_ms", [0, 300, 900])
def test_a_double_click_decides_one_thing(screen: OpenScreen, server: Server, seeds: Seeds, pause_ms: int) -> None:
    client = server.client()
    pair = [_wants(client, f"double-{pause_ms}-{one}") for one in "ab"]
    page = screen("/approvals").ready("Approvals").page
    x, y = _place(_approve(_card(page, pair[0])))
    page.mouse.move(x, y)
    page.mouse.click(x, y)
    page.wait_for_timeout(pause_ms)
    page.mouse.click(x, y)
    expect(_card(page, pair[0]).get_by_role("status")).to_contain_text("approved it")
    expect(_approve(_card(page, pair[1]))).to_be_enabled()
    assert [_state(client, one) for one in pair] == ["approved", "open"]
    _decide(client, pair[1], "deny")


def test_what_moves_takes_no_press(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    pair = [_wants(client, f"moves-{one}") for one in "ab"]
    page = screen("/approvals").ready("Approvals").page
    x, y = _place(_approve(_card(page, pair[1])))
    one = _card(page, pair[0]).bounding_box()
    two = _card(page, pair[1]).bounding_box()
    assert one is not None
    assert two is not None
    # The first card comes to where the second one was, and the press follows within the same turn of the page.
    page.evaluate(f"document.querySelector('main').style.paddingTop = '{two['y'] - one['y'] + 16}px'")
    page.mouse.click(x, y)
    expect(page.get_by_text("this had just moved")).to_be_visible()
    assert [_state(client, one) for one in pair] == ["open", "open"]
    for approval_id in pair:
        _decide(client, approval_id, "deny")


@pytest.mark.parametrize("width", [1440, 360])
def test_a_high_risk_is_asked_once_more(screen: OpenScreen, server: Server, seeds: Seeds, width: int) -> None:
    client = server.client()
    risky = _wants(client, f"risky-{width}", risk="high")
    page = screen("/approvals", width=width).ready("Approvals").page
    card = _card(page, risky)
    x, y = _place(_approve(card))
    page.mouse.dblclick(x, y)
    sure = card.get_by_role("button", name="Approve: yes, at high risk")
    expect(sure).to_be_enabled()
    assert _state(client, risky) == "open"
    card.get_by_role("button", name="Back").click()
    expect(sure).to_have_count(0)
    card.get_by_label("Reason").fill("it is a copy")

    def is_asked() -> bool:
        """A press on what has just moved counts for nothing: one presses again."""
        if sure.count() == 0:
            _approve(card).click()
        return bool(sure.count())

    wait_until(is_asked, "the question")
    expect(sure).to_be_focused()
    sure.click()
    expect(card.get_by_role("status")).to_contain_text("admin has approved it")
    assert _state(client, risky) == "approved"


def test_the_keyboard_goes_on_to_the_next_card(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    trio = [_wants(client, f"keys-{one}") for one in "abc"]
    page = screen("/approvals").ready("Approvals").page
    _approve(_card(page, trio[0])).focus()
    page.keyboard.press("Enter")
    expect(_card(page, trio[1])).to_be_focused()
    page.keyboard.press("Enter")
    expect(_card(page, trio[0]).get_by_role("status")).to_contain_text("approved it")
    assert [_state(client, one) for one in trio] == ["approved", "open", "open"]
    for approval_id in trio[1:]:
        _decide(client, approval_id, "deny")
