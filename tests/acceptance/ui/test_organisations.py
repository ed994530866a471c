"""Organisations under Settings: made, renamed and removed by who manages them, and one's own to everybody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.screens import opened
from tests.support.browser import token_of
from tests.support.server import NO_LIMITS, Server

pytestmark = pytest.mark.slow
PATH = "/settings?tab=organisation"


@pytest.fixture
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose first organisation manages all."""
    settings = {**NO_LIMITS, "TOWERLOG_ORGANISATIONS_MANAGED_BY": "default"}
    with Server(tmp_path_factory.mktemp("managed") / "data", settings) as server:
        yield server


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (360, "light")])
def test_one_is_made_and_renamed_and_its_link_signs_in(
    browser: Browser, managed: Server, width: int, theme: str
) -> None:
    token = token_of(managed.client())
    screen = opened(browser, managed.base_url, PATH, width=width, theme=theme, token=token).ready("Settings")
    page = screen.page
    page.get_by_role("button", name="New organisation").click()
    page.get_by_role("textbox", name="Name").fill("another team")
    page.get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog", name="New organisation")
    expect(dialog).to_contain_text("Send this link to the first member of another team.")
    url, key = dialog.locator("pre").all_inner_texts()
    assert "#token=" in url
    [made] = [
        one for one in managed.client().get("/api/v1/organisations").json()["data"] if one["name"] == "another team"
    ]
    assert managed.client(key=key).get("/api/v1/whoami").json()["org_id"] == made["org_id"]
    expect(dialog.get_by_role("button", name="Copy the key")).to_be_visible()
    assert (screen.violations(), screen.overflow()) == ([], 0)
    page.keyboard.press("Escape")
    expect(page.get_by_text(key)).to_have_count(0)
    row = page.locator("[data-id]").filter(has_text="another team")
    row.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("a better name")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("[data-id]").filter(has_text="a better name")).to_be_visible()
    assert (screen.violations(), screen.overflow()) == ([], 0)
    screen.close()
    other = opened(browser, managed.base_url, PATH, width=width, theme=theme, token=url.partition("#token=")[2])
    other.ready("Settings").page.get_by_text("a better name").wait_for()
    expect(other.page.locator("[data-id]")).to_have_count(1)
    expect(other.page.get_by_role("button", name="New organisation")).to_have_count(0)
    other.close()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")])
def test_one_is_removed_once_its_name_is_typed(browser: Browser, managed: Server, width: int, theme: str) -> None:
    client = managed.client()
    client.post("/api/v1/organisations", json={"name": "leaving"})
    token = token_of(client)
    screen = opened(browser, managed.base_url, PATH, width=width, theme=theme, token=token).ready("Settings")
    page = screen.page
    row = page.locator("[data-id]").filter(has_text="leaving")
    expect(page.get_by_role("button", name="Remove")).to_have_count(1)
    row.get_by_role("button", name="Remove").click()
    page.get_by_text("It holds 0 runs, 0 events, 1 key, 1 member").wait_for()
    act = page.get_by_role("button", name="Remove it")
    page.get_by_role("textbox").fill("Leaving")
    expect(act).to_be_disabled()
    assert (screen.violations(), screen.overflow()) == ([], 0)
    page.get_by_role("textbox").fill("leaving")
    act.click()
    expect(page.get_by_role("heading", name="Removed")).to_be_visible()
    expect(row).to_contain_text("being erased since")
    expect(row.get_by_role("button", name="Rename")).to_have_count(0)
    assert (screen.violations(), screen.overflow()) == ([], 0)
    screen.close()


def test_without_the_setting_there_is_ones_own_and_how_to_make_another(screen: OpenScreen) -> None:
    page = screen(PATH).ready("Settings").page
    page.get_by_text("towerlog orgs create").wait_for()
    expect(page.locator("[data-id]")).to_have_count(1)
    expect(page.get_by_role("button", name="Rename")).to_have_count(0)
