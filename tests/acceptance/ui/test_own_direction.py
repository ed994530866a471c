"""Text that is written from right to left stands so wherever senders' text stands, and long names break."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.acceptance.feeds import ok
from tests.acceptance.ui.conftest import OpenScreen
from tests.support.senders import tell
from tests.support.server import Server

pytestmark = pytest.mark.slow
HEBREW = "האם למחוק 12 קבצים?"
"""Its question mark is at its left end where the base direction is right to left."""
MARK_IS_LEFT = """node => {
    const text = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    let found = null;
    while (text.nextNode()) if (text.currentNode.data.includes('?')) found = text.currentNode;
    const at = (from) => {
        const range = document.createRange();
        range.setStart(found, from);
        range.setEnd(found, from + 1);
        return range.getBoundingClientRect().left;
    };
    const begin = found.data.indexOf('ה');
    return at(found.data.indexOf('?')) < at(begin);
}"""


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (360, "dark")])
def test_a_question_from_right_to_left(screen: OpenScreen, server: Server, width: int, theme: str) -> None:
    client, name = server.client(), f"hebrew-{width}"
    long_name = "n" * 66 + str(width)
    tell(client, "run_start", name, {"input": HEBREW}, agent_name=long_name)
    tell(client, "human_input_requested", name, {"question": HEBREW})
    [run] = ok(client.get("/api/v1/runs", params={"agent": long_name}))["data"]
    for path, heading in (("/approvals", "Approvals"), ("/", "Now"), (f"/runs/{run['run_id']}", "n")):
        one = screen(path, width=width, theme=theme).ready(heading)
        question = one.page.locator(".told").get_by_text(HEBREW, exact=True).first
        expect(question).to_be_visible()
        assert question.evaluate(MARK_IS_LEFT), path
        assert one.overflow() <= 0, path
        assert one.violations() == [], path
    one = screen(f"/runs/{run['run_id']}", width=width, theme=theme).ready("n")
    cell = one.page.locator(".said", has_text=HEBREW).first
    assert cell.evaluate("cell => getComputedStyle(cell).direction") == "rtl"


def test_buttons_of_members_are_whole(screen: OpenScreen, server: Server) -> None:
    ok(server.client().post("/api/v1/members", json={"name": "second", "role": "viewer"}), 201)
    for width, theme in ((1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")):
        one = screen("/settings?tab=members", width=width, theme=theme).ready("Settings")
        one.page.get_by_label("Role of second").wait_for()
        assert one.violations() == []
        for cell in one.page.get_by_role("cell").filter(has=one.page.get_by_role("button", name="Remove …")).all():
            assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth"), (width, theme)


def test_what_went_wrong_is_counted_and_led_to(screen: OpenScreen, server: Server) -> None:
    client = server.client()
    for number in range(25):
        tell(client, "run_start", f"wrong-{number}", {"input": "x"}, agent_name="wrong")
        tell(client, "error", f"wrong-{number}", {"message": "no"})
        tell(client, "run_end", f"wrong-{number}", {"status": "error"})
    facets = ok(client.get("/api/v1/run-facets", params={"status": "failed,lost,budget_exceeded"}))
    assert facets["total"] >= 25
    page = screen("/").ready("Now").page
    figure = page.get_by_role("link", name=str(facets["total"]), exact=True)
    expect(figure).to_have_attribute("href", "/runs?status=failed,lost,budget_exceeded&since=24h")
    page.get_by_role("link", name="All that went wrong").click()
    page.wait_for_url("**/runs?status=failed,lost,budget_exceeded&since=24h")
