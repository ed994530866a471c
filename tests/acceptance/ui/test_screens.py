"""Every page of the dashboard: it shows what there is, fits its window, is accessible, and reaches nowhere else."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds

pytestmark = pytest.mark.slow
PAGES = {
    "/": ("Now", "Send the letter?"),
    "/runs": ("Runs", "writer"),
    "/runs/{done}": ("writer", "tool.result"),
    "/runs/{done}?seq=3": ("writer", "All fields"),
    "/runs/{done}?tab=conversation": ("writer", "calls search"),
    "/runs/{done}?tab=tools": ("writer", "search"),
    "/runs/{done}?tab=tools&tool=search": ("writer", "Calls of search"),
    "/runs?q=letter": ("Runs", "letter"),
    "/workers?worker=nobody": ("Worker nobody", "All workers"),
    "/runs/{runner}?tab=checkpoints&checkpoint=2:researcher&against=1:researcher": ("researcher", "I remove build."),
    "/runs/{done}?tab=children": ("writer", "No child runs."),
    "/runs/{queued}?tab=leases": ("nobody", "run.queued"),
    "/runs/{done}?tab=raw": ("writer", '"type":"run.started"'),
    "/runs/{failed}": ("writer", "no paper"),
    "/runs/{done}/replay": ("Replay of writer", "a letter"),
    "/compare?a={done}&b={failed}": ("Compare", "Here they part ways"),
    "/approvals": ("Approvals", "rm -r build"),
    "/agents": ("Agents", "writer"),
    "/agents/{agent_id}": ("writer", "Newest runs"),
    "/threads": ("Threads", "cleaning"),
    "/threads/{thread_id}": ("Thread cleaning", "researcher"),
    "/workers": ("Workers", "nobody"),
    "/usage": ("Usage", "writer"),
    "/budgets": ("Budgets", "all of it"),
    "/alerts": ("Alerts", "no paper"),
    "/alerts?tab=rules": ("Alerts", "failed runs"),
    "/alerts?tab=deliveries": ("Alerts", "No message was sent"),
    "/audit?action=budget.create": ("Audit", "budget.create"),
    "/settings": ("Settings", "a key"),
    "/settings?tab=prices": ("Settings", "house-1"),
    "/settings?tab=prices&q=gpt-4o-mini": ("Settings", "gpt-4o-mini"),
    "/settings?tab=prices&model=words-1": ("Settings", "Written to a cache"),
    "/settings?tab=personas": ("Settings", "editor@1"),
    "/settings?tab=webhooks": ("Settings", "No webhook yet"),
    "/usage?by=thread": ("Usage", "cleaning"),
    "/runs?cols=status,agent,error,persona": ("Runs", "asker"),
    "/settings?tab=sessions": ("Settings", "this one"),
    "/settings?tab=retention": ("Settings", "Pieces of answers"),
    "/settings?tab=organisation": ("Settings", "towerlog orgs create"),
}
"""Path → its heading, and something that it shows."""
SIZES = [(1440, "light"), (360, "dark")]
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.mark.parametrize("path", PAGES)
def test_each_page_shows_what_there_is(screen: OpenScreen, seeds: Seeds, path: str) -> None:
    heading, shown = PAGES[path]
    for width, theme in SIZES:
        one = screen(path.format(**seeds._asdict()), width=width, theme=theme).ready(heading)
        one.page.get_by_text(shown).locator("visible=true").first.wait_for()
        assert one.overflow() <= 0, f"{width} px"
        for scheme in THEMES:
            one.page.emulate_media(color_scheme=scheme)
            assert one.violations() == [], f"{width} px, {scheme}"


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_a_path_of_nothing_says_so_and_leads_back(screen: OpenScreen, seeds: Seeds, is_signed_in: bool) -> None:
    for path in ("/nowhere-else", "/runs/x/y/z", "/api/v1/nothing"):
        for width, theme in SIZES:
            one = screen(path, width=width, theme=theme, is_signed_in=is_signed_in).ready("Page not found")
            expect(one.page.get_by_text(path, exact=True)).to_be_visible()
            assert one.overflow() <= 0
            assert one.violations() == []
            assert one.page.evaluate("performance.getEntriesByType('navigation')[0].responseStatus") == 404
            one.faults = [fault for fault in one.faults if "404" not in fault and "401" not in fault]
    one.page.get_by_role("link", name="Back to Now").click()
    one.ready("Now" if is_signed_in else "Sign in")
    one.faults = [fault for fault in one.faults if "401" not in fault]


def test_rows_carry_their_ids(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/runs").ready("Runs").page
    for run_id in (seeds.asking, seeds.done, seeds.failed, seeds.queued):
        page.locator(f'[data-id="{run_id}"]').wait_for()


def test_text_of_agents_stays_text(screen: OpenScreen, seeds: Seeds) -> None:
    """Whatever runs, asks elsewhere or breaks the policy is a fault of the screen, see `Screen`."""
    runs = screen("/runs").ready("Runs").page
    # The name of an agent is one line: its control characters were taken for blanks when it came in.
    row = runs.get_by_role("row").get_by_text("[31m{{7*7}}").first
    row.wait_for()
    run_id = row.locator("xpath=ancestor::*[@data-id]").get_attribute("data-id")
    for path in ("/", "/approvals", "/agents", f"/runs/{run_id}?seq=2", f"/runs/{run_id}?tab=conversation",
                 f"/runs/{run_id}?tab=tools", f"/runs/{run_id}?tab=raw", f"/runs/{run_id}/replay",
                 f"/compare?a={run_id}&b={seeds.done}"):  # fmt: skip
        page = screen(path).page
        page.locator("h1").wait_for()
        page.get_by_text("Loading", exact=True).first.wait_for(state="detached")
        page.get_by_text("onerror").first.wait_for()
        assert page.locator("img, main script").count() == 0
