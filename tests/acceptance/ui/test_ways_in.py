"""By the keyboard from a search to its hits and from the top of a page into it; in by a link put into the same tab."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.acceptance.ui.test_signing_in import but_refusals
from tests.support.browser import token_of
from tests.support.server import Server

pytestmark = pytest.mark.slow


def test_a_link_signs_in_in_the_tab_that_shows_the_form(screen: OpenScreen, server: Server) -> None:
    one = screen("/", is_signed_in=False).ready("Sign in")
    one.page.evaluate(f"location.href = '/sign-in#token={token_of(server.client())}'")
    one.page.get_by_role("heading", level=1, name="Now").wait_for()
    assert "token" not in one.page.url
    but_refusals(one)


def test_from_the_search_to_its_hits(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/runs").ready("Runs").page
    page.get_by_role("row").filter(has_text="asker").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("writer")
    page.keyboard.press("Enter")
    hits = page.locator("[data-keys] a.open")
    expect(hits.first).to_be_focused()
    expect(page.get_by_role("row").filter(has_text="asker")).to_have_count(0)
    page.keyboard.press("j")
    expect(hits.nth(1)).to_be_focused()
    page.keyboard.press("/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    page.keyboard.press("Escape")
    expect(search).not_to_be_focused()
    expect(search).to_have_value("writer")
    assert "q=writer" in page.url


@pytest.mark.parametrize(("path", "heading"), [("/", "Now"), ("/runs", "Runs"), ("/budgets", "Budgets")])
def test_the_first_tab_reaches_the_link_past_the_pages(
    screen: OpenScreen, seeds: Seeds, path: str, heading: str
) -> None:
    page = screen(path).ready(heading).page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_words_that_are_not_found_say_what_was_looked_through(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/runs?q=nowhere-at-all").ready("Runs").page
    expect(page.get_by_text("No run matches")).to_contain_text("Searched: ids, agents, inputs")
