"""The whole story by keyboard alone: find the run that waits, answer it, watch it go on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.senders import tell
from tests.support.server import Server

pytestmark = pytest.mark.slow
MAX_TABS = 60


def tab_to(page: Page, name: str) -> None:
    """Tab, until what has this accessible name has the focus."""
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
        )
        if focused == name:
            return
    raise AssertionError(f"{name} is not reached")


def test_a_waiting_run_is_answered_and_watched_to_its_end(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    tell(client, "run_start", "by-keys", {"input": "x"}, agent_name="by-keys")
    tell(client, "human_input_requested", "by-keys", {"question": "By hand?"})
    page = screen("/").ready("Now").page
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.get_by_role("heading", level=1, name="Runs").wait_for()
    page.get_by_role("row").filter(has_text="by-keys").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("by-keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("table", name="Runs")).to_have_attribute("aria-rowcount", "2")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="by-keys").wait_for()
    page.get_by_label("Answer").wait_for()
    tab_to(page, "Answer")
    page.keyboard.type("by hand")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="running")).to_be_visible()
    tell(client, "run_end", "by-keys", {"output": "done"})
    expect(page.get_by_role("status").filter(has_text="completed")).to_be_visible()


def test_any_page_is_found_by_its_name(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/").ready("Now").page
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").wait_for()
    page.keyboard.type("budg")
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="Budgets").wait_for()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard").wait_for()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_run_is_found_by_the_beginning_of_its_id(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/").ready("Now").page
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill(seeds.done)
    expect(page.get_by_role("option").first).to_have_text(re.compile(rf"^{seeds.done}\s*run$"))
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="writer").wait_for()


def test_keys_do_nothing_behind_an_open_dialog(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/budgets").ready("Budgets").page
    page.get_by_role("button", name="New budget …").click()
    form = page.get_by_role("dialog", name="New budget")
    form.get_by_label("Name").fill("kept")
    form.get_by_role("button", name="Cancel").focus()
    for key in ("g", "r", "?", "Control+k", "/"):
        page.keyboard.press(key)
    expect(page.get_by_role("dialog")).to_have_count(1)
    expect(form.get_by_label("Name")).to_have_value("kept")
    expect(form.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").wait_for()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog")).to_have_count(0)
