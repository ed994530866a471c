"""What a run tells by its checkpoints, or by its model calls, alone is on every page that says what it did."""

from __future__ import annotations

import json

import httpx2
import pytest
from playwright.sync_api import expect

from tests.acceptance.feeds import create_run, ok
from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.otlp import span, traces
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


def _caller(client: httpx2.Client, run_key: str) -> str:
    """The id of a run of three model calls: the second has all that the first had, the third tells no words."""
    oslo = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Oslo?"}]
    cold = {"role": "assistant", "content": "It is cold."}
    calls = [
        {"model": "m", "messages": oslo, "response": cold},
        {"model": "m", "messages": [*oslo, cold, {"role": "user", "content": "Bergen?"}], "response": "It rains."},
        {"model": "m"},
    ]
    told = [
        ("run.started", {"input": "Oslo?"}),
        ("message.delta", {"content": "It is cold."}),
        *(("model.call", call) for call in calls),
        ("run.completed", {}),
    ]
    events = [
        {
            "event_id": f"{run_key}-{seq}",
            "client_seq": seq,
            "run_key": run_key,
            "agent": "caller",
            "type": kind,
            "data": data,
        }
        for seq, (kind, data) in enumerate(told, 1)
    ]
    done = ok(client.post("/api/v1/events", json={"client_id": run_key, "events": events}))
    return str(done["results"][0]["run_id"])


def test_what_models_were_asked_and_said_is_the_conversation(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    run_id = _caller(server.client(), "caller")
    page = screen(f"/runs/{run_id}?tab=conversation").ready("caller").page
    said = page.locator("main ol > li .told")
    expect(said).to_have_text(["Be brief.", "Oslo?", "It is cold.", "Bergen?", "It rains.", ""])
    expect(page.locator("main")).to_contain_text("Model calls sent without prompt and reply: 1.")
    page = screen(f"/runs/{run_id}/replay?seq=9").ready("Replay of").page
    expect(page.get_by_label("What was said by then")).to_contain_text("It rains.")
    thread_id = server.client().get(f"/api/v1/runs/{run_id}").json()["thread_id"]
    page = screen(f"/threads/{thread_id}").ready("Thread").page
    expect(page.locator("article")).to_contain_text("It rains.")


def test_a_span_tells_what_was_said_and_is_no_result(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    talk = {
        f"gen_ai__{way}__messages": json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])
        for way, role, text in (("input", "user", "Oslo?"), ("output", "assistant", "It is cold."))
    }
    root = span(
        1, trace=77, name="invoke_agent towers", gen_ai__operation__name="invoke_agent", gen_ai__agent__name="towers"
    )
    chat = span(2, 1, trace=77, name="chat m", gen_ai__operation__name="chat", gen_ai__request__model="m", **talk)
    ok(client.post("/v1/traces", json=traces(root, chat)))
    [run] = client.get("/api/v1/runs", params={"agent": "towers"}).json()["data"]
    assert client.get(f"/api/v1/runs/{run['run_id']}").json()["result"] is None
    page = screen(f"/runs/{run['run_id']}?tab=conversation").ready("towers").page
    expect(page.locator("main ol > li .told")).to_have_text(["Oslo?", "It is cold.", ""])
    expect(page.get_by_role("heading", name="Result")).to_have_count(0)
