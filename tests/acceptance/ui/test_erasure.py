"""Content that is deleted by hand: a typed name first, a report after it, and open pages that follow."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.senders import tell
from tests.support.server import Server

pytestmark = pytest.mark.slow
SECRET = "the word that is to go"


def _ended(server: Server, name: str, thread: str) -> str:
    """The id of a run of a thread that has ended and has told a secret."""
    client = server.client()
    tell(client, "run_start", name, {"input": SECRET, "thread_id": thread}, agent_name=name)
    tell(client, "step", name, {"node_name": SECRET, "phase": "start"})
    tell(client, "run_end", name, {"output": SECRET})
    run = client.get("/api/v1/runs", params={"agent": name}).json()["data"][0]
    assert run["thread_id"] == thread
    return str(run["run_id"])


def _deleted(page: Page, kind: str, name: str) -> None:
    """Opens the dialog, types a wrong name and the right one, and reads the report."""
    page.get_by_role("button", name="Delete …").click()
    dialog = page.get_by_role("dialog", name=f"Delete the content of this {kind}")
    expect(dialog).to_contain_text("is erased for good")
    act = dialog.get_by_role("button", name="Delete it")
    expect(act).to_be_disabled()
    dialog.get_by_label("Type").fill(f"{name}x")
    expect(act).to_be_disabled()
    dialog.get_by_label("Type").fill(name)
    act.click()
    report = page.get_by_role("dialog", name="Deleted")
    expect(report).to_contain_text("Erased:")
    expect(report).not_to_contain_text("nothing was left")
    report.get_by_role("button", name="Back").click()
    expect(report).to_have_count(0)


@pytest.mark.parametrize("width", [1440, 360])
def test_a_run_is_deleted_once_its_name_is_typed(screen: OpenScreen, server: Server, seeds: Seeds, width: int) -> None:
    run_id = _ended(server, f"doomed-{width}", f"doomed-{width}")
    one = screen(f"/runs/{run_id}", width=width).ready(f"doomed-{width}")
    one.page.get_by_role("button", name="Delete …").click()
    assert one.violations() == []
    one.page.get_by_role("button", name="Back").click()
    expect(one.page.get_by_text(SECRET).first).to_be_visible()
    _deleted(one.page, "run", run_id[-6:])
    expect(one.page.get_by_text("Its content was deleted")).to_be_visible()
    expect(one.page.get_by_text(SECRET)).to_have_count(0)
    events = server.client().get(f"/api/v1/runs/{run_id}/events").text
    assert SECRET not in events


def test_a_thread_is_deleted_once_its_name_is_typed(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    for number in range(2):
        run_id = _ended(server, f"doomed-{number}", "doomed-thread")
    page = screen("/threads/doomed-thread").ready("Thread doomed-thread").page
    _deleted(page, "thread", "doomed-thread")
    expect(page.get_by_text("Its content was deleted")).to_be_visible()
    assert SECRET not in server.client().get(f"/api/v1/runs/{run_id}/events").text


def test_who_does_not_administer_deletes_nothing(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    run_id = _ended(server, "spared", "spared")
    client = server.client()
    viewer = client.post("/api/v1/members", json={"name": "looks on", "role": "operator"}).json()
    page = screen(f"/runs/{run_id}", user_id=viewer["user_id"]).ready("spared").page
    expect(page.get_by_role("link", name="Replay")).to_be_visible()
    expect(page.get_by_role("button", name="Delete …")).to_have_count(0)


def test_open_pages_follow_an_erasure(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    """A page that follows the run shows what is left of it, without a reload, and goes on with what comes after."""
    run_id = _ended(server, "watched", "watched")
    run = screen(f"/runs/{run_id}").ready("watched").page
    said = screen(f"/runs/{run_id}?tab=conversation").ready("watched").page
    rows = screen("/runs?agent=watched").ready("Runs").page
    for page in (run, said):
        page.evaluate("window.stays = true")
        expect(page.get_by_text(SECRET).first).to_be_visible()
    server.client().delete(f"/api/v1/runs/{run_id}").raise_for_status()
    for page in (run, said):
        expect(page.get_by_text("Its content was deleted")).to_be_visible()
        expect(page.get_by_text(SECRET)).to_have_count(0)
        assert page.evaluate("window.stays")
    expect(run.get_by_role("listbox", name="Events")).to_contain_text("erased")
    tell(server.client(), "run_start", "watched-again", {"input": "afterwards"}, agent_name="watched")
    expect(rows.get_by_role("row").filter(has_text="running")).to_have_count(1)
