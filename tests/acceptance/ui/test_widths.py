"""What grows with what is shown has the room that it needs: numbers of events, menus, long names."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.acceptance.feeds import ok
from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.senders import tell
from tests.support.server import Server

pytestmark = pytest.mark.slow
EVENTS = 10_010
BATCH = 500


def _is_cut(cell: Locator) -> bool:
    return bool(cell.evaluate("cell => cell.scrollWidth > cell.clientWidth"))


@pytest.mark.parametrize("width", [1440, 360])
def test_numbers_and_types_of_events_are_whole(screen: OpenScreen, server: Server, seeds: Seeds, width: int) -> None:
    client, key, seq = server.client(), f"long-{width}", 0
    for first in range(1, EVENTS, BATCH):
        last = min(first + BATCH, EVENTS + 1)
        events = [
            {
                "type": "run.started" if at == 1 else "model.call",
                "run_key": key,
                "event_id": f"e{at}",
                "client_seq": at,
                "agent": key,
                "data": {"input": "x"} if at == 1 else {"model": "m", "input_tokens": 1},
            }
            for at in range(first, last)
        ]
        reply = client.post("/api/v1/events", json={"client_id": key, "events": events})
        seq = ok(reply)["results"][-1]["seq"]
    tell(client, "run_start", f"asks-{width}", {"input": "x"}, agent_name=f"asks-{width}")
    tell(client, "human_input_requested", f"asks-{width}", {"question": "Who?"})
    [run] = ok(client.get("/api/v1/runs", params={"agent": key}))["data"]
    page = screen(f"/runs/{run['run_id']}?seq={seq}", width=width).ready(key).page
    assert seq >= EVENTS
    row = page.locator(f"#event-{seq}")
    expect(row.locator("span").first).to_have_text(str(seq))
    assert not _is_cut(row.locator("span").first)
    if width == 1440:
        [run] = ok(client.get("/api/v1/runs", params={"agent": f"asks-{width}"}))["data"]
        page = screen(f"/runs/{run['run_id']}").ready(f"asks-{width}").page
        kind = page.get_by_role("option").get_by_text("run.waiting_for_input")
        kind.wait_for()
        assert not _is_cut(kind)


@pytest.mark.parametrize("width", [1440, 360])
@pytest.mark.parametrize("query", ["", "?agent=writer&status=completed&has_errors=true&since=7d"])
def test_the_menu_of_columns_stays_on_the_page(screen: OpenScreen, seeds: Seeds, width: int, query: str) -> None:
    one = screen(f"/runs{query}", width=width).ready("Runs")
    one.page.get_by_text("Columns", exact=True).click()
    menu = one.page.get_by_role("search").get_by_role("group").filter(has_text="Thread").last
    expect(menu).to_be_visible()
    box = menu.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert one.overflow() <= 0


def test_a_long_name_is_broken(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client, name = server.client(), "n" * 134
    tell(client, "run_start", "long-name", {"input": "x"}, agent_name=name)
    [run] = ok(client.get("/api/v1/runs", params={"agent": name}))["data"]
    for path in (f"/runs/{run['run_id']}", f"/agents/{run['agent_id']}", "/runs", "/agents", "/"):
        one = screen(path, width=360)
        one.page.get_by_role("heading", level=1).wait_for()
        one.page.get_by_text("Loading", exact=True).first.wait_for(state="detached")
        assert one.overflow() <= 0, path
