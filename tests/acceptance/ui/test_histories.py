"""What a run tells by its checkpoints alone is on every page that says what it did."""

from __future__ import annotations

import httpx2
import pytest
from playwright.sync_api import expect

from tests.acceptance.feeds import create_run
from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.senders import checkpoint, save_batch
from tests.support.server import Server

pytestmark = pytest.mark.slow


def _runner(client: httpx2.Client, thread: str, said: str, tool: str) -> str:
    """The id of a run that tells of two messages and one tool call, by a checkpoint; and that it has completed."""
    call = {"id": f"call-{thread}", "name": tool, "arguments": {"path": "build"}}
    history = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": said, "tool_calls": [call]}]
    completed = {"type": "thread_completed", "data": {"thread_id": thread, "trace_id": thread}}
    save_batch(client, checkpoint(thread, thread, 1, history=history, history_meta=[{}, {}]), completed)
    runs = client.get("/api/v1/runs", params={"thread_id": thread}).json()["data"]
    return str(runs[0]["run_id"])


def test_two_runs_part_where_their_histories_do(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    blue, red = _runner(client, "blue", "The sky is blue.", "ls"), _runner(client, "red", "The sky is red.", "rm")
    page = screen(f"/compare?a={blue}&b={red}").ready("Compare").page
    expect(page.get_by_text("The same for 1 step, then they part ways.")).to_be_visible()
    expect(page.locator("li.differs")).to_have_count(2)
    expect(page.locator("main")).to_contain_text("calls rm")
    alike = _runner(client, "blue-again", "The sky is blue.", "ls")
    page = screen(f"/compare?a={blue}&b={alike}").ready("Compare").page
    expect(page.get_by_text("No difference in 4 steps")).to_be_visible()


def test_runs_that_tell_nothing_are_not_called_alike(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    ids = []
    for thread in ("mute-1", "mute-2"):
        events = [{"type": kind, "data": {"thread_id": thread}} for kind in ("thread_started", "thread_completed")]
        save_batch(client, *events)
        ids.append(client.get("/api/v1/runs", params={"thread_id": thread}).json()["data"][0]["run_id"])
    page = screen(f"/compare?a={ids[0]}&b={ids[1]}").ready("Compare").page
    expect(page.get_by_text("Nothing to compare")).to_be_visible()


def test_a_replay_tells_the_history_up_to_its_moment(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    run_id = _runner(server.client(), "replayed", "I remove build.", "rm")
    page = screen(f"/runs/{run_id}/replay").ready("Replay of").page
    said = page.get_by_label("What was said by then")
    last = server.client().get(f"/api/v1/runs/{run_id}").json()["last_seq"]
    page.get_by_role("slider", name="Event").fill(str(last))
    expect(said).to_contain_text("I remove build.")
    expect(said).to_contain_text("calls rm")
    expect(page.locator("dl.figures > div").filter(has_text="Tool calls")).to_contain_text("1")


def test_a_thread_tells_what_each_run_was_asked_and_gave(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    told = _runner(client, "talk", "The sky is blue.", "ls")
    asked = create_run(client, "talk", agent="nobody", input="And at night?")["run_id"]
    page = screen("/threads/talk").ready("Thread talk").page
    runs = page.get_by_role("list", name="Runs of the thread").locator("article")
    assert [one.get_attribute("data-id") for one in runs.all()] == [told, asked], "as they were"
    expect(runs.first).to_contain_text("Go")
    expect(runs.first).to_contain_text("The sky is blue.")
    expect(runs.last).to_contain_text("And at night?")
    client.post(f"/v1/runs/{asked}:cancel", json={}).raise_for_status()
    expect(runs.last).to_contain_text("cancelled")
