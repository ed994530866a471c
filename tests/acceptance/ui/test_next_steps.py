"""From what a page shows to what is done about it: a price where there is none, a run again, the words of a hit."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect

from tests.acceptance.feeds import create_run, ok
from tests.acceptance.ui.conftest import OpenScreen
from tests.acceptance.ui.seeds import Seeds
from tests.support.senders import tell
from tests.support.server import Server

pytestmark = pytest.mark.slow


def test_from_unpriced_a_link_leads_to_the_price_of_the_model(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    tell(client, "run_start", "dear", {"input": "x"}, agent_name="dear")
    tell(client, "run_end", "dear", {"prompt_tokens": 812, "completion_tokens": 40, "model": "nobody-9"})
    page = screen("/usage?by=model").ready("Usage").page
    row = page.locator('[data-id="nobody-9"]')
    row.get_by_role("link", name="1 unpriced call").click()
    form = page.get_by_role("dialog", name="New price")
    expect(form.get_by_label("Model")).to_have_value("nobody-9")
    form.get_by_label("Input", exact=True).fill("1")
    form.get_by_label("Output").fill("2")
    form.get_by_role("button", name="Set price").click()
    expect(page.get_by_role("table", name="Prices", exact=True)).to_contain_text("nobody-9")


def test_the_prices_that_come_with_the_server_are_searched_and_taken_as_a_beginning(
    screen: OpenScreen, seeds: Seeds
) -> None:
    page = screen("/settings?tab=prices").ready("Settings").page
    page.get_by_label("Model or provider").fill("openai gpt-4o-mini")
    row = page.locator('[data-id="openai/gpt-4o-mini"]')
    expect(row).to_contain_text("$0.1500")
    row.get_by_role("button", name="Change …").click()
    form = page.get_by_role("dialog", name="New price")
    expect(form.get_by_label("Input", exact=True)).to_have_value("0.15")
    form.get_by_role("button", name="Cancel").click()
    page.get_by_label("Model or provider").fill("no-such-model")
    page.get_by_text("No model matches").wait_for()


def test_a_retry_and_a_fork_say_what_is_made_and_take_another_input(
    screen: OpenScreen, server: Server, seeds: Seeds
) -> None:
    client = server.client()
    run_id = create_run(client, "again", agent="nobody", input="go north")["run_id"]
    ok(client.post(f"/v1/runs/{run_id}:cancel", json={}))
    page = screen(f"/runs/{run_id}").ready("nobody").page
    page.get_by_role("button", name="Retry …").click()
    form = page.get_by_role("dialog", name="Retry the run")
    expect(form).to_contain_text("is queued in the thread again")
    expect(form.get_by_label("Input")).to_have_value("go north")
    form.get_by_label("Input").fill("go south")
    form.get_by_role("button", name="Retry", exact=True).click()
    page.wait_for_url(lambda url: run_id not in url)
    made = ok(client.get(f"/api/v1/runs/{page.url.rsplit('/', 1)[1]}"))
    assert (made["retry_of"], made["input"]) == (run_id, "go south")
    page = screen(f"/runs/{seeds.runner}?tab=checkpoints&checkpoint=1:researcher").ready("researcher").page
    page.get_by_role("button", name="Fork from here …").click()
    form = page.get_by_role("dialog", name="Fork from step 1")
    expect(form).to_contain_text("the state that researcher saved after step 1")
    form.get_by_role("button", name="Fork", exact=True).click()
    page.wait_for_url(lambda url: seeds.runner not in url)


def test_a_second_click_makes_no_second_run_and_numbers_stay_as_they_were(
    screen: OpenScreen, server: Server, seeds: Seeds
) -> None:
    client = server.client()
    body = b'{"agent": "nobody", "input": {"city": "Oslo", "to": 12345678901234567890}}'
    made = client.post("/v1/threads/numbered/runs", content=body, headers={"content-type": "application/json"})
    run_id = made.raise_for_status().json()["run_id"]
    ok(client.post(f"/v1/runs/{run_id}:cancel", json={}))
    page = screen(f"/runs/{run_id}").ready("nobody").page
    page.get_by_role("button", name="Retry …").click()
    form = page.get_by_role("dialog", name="Retry the run")
    given = form.get_by_label("Input")
    expect(given).to_have_value('{\n  "city": "Oslo",\n  "to": 12345678901234567890\n}')
    given.fill(given.input_value().replace("Oslo", "Bergen"))
    form.get_by_role("button", name="Retry", exact=True).dblclick()
    page.wait_for_url(lambda url: run_id not in url)
    newest, before = ok(client.get("/v1/runs", params={"thread_id": "numbered"}))
    assert before["run_id"] == run_id
    said = client.get(f"/api/v1/runs/{newest['run_id']}").text.replace(" ", "")
    assert '"input":{"city":"Bergen","to":12345678901234567890}' in said


def test_a_run_whose_input_nobody_knows_is_run_again_with_one(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    tell(client, "run_start", "unasked", {}, agent_name="unasked", thread_id="unasked")
    tell(client, "run_end", "unasked", {})
    [run] = ok(client.get("/v1/runs", params={"agent": "unasked"}))
    page = screen(f"/runs/{run['run_id']}").ready("unasked").page
    page.get_by_role("button", name="Retry …").click()
    form = page.get_by_role("dialog", name="Retry the run")
    expect(form).to_contain_text("is not known")
    form.get_by_label("Input").fill('{"city": "Oslo"}')
    form.get_by_label("It is").select_option("JSON")
    form.get_by_role("button", name="Retry", exact=True).click()
    page.wait_for_url(lambda url: run["run_id"] not in url)
    again = page.url.rsplit("/", 1)[1]
    assert ok(client.get(f"/api/v1/runs/{again}"))["input"] == {"city": "Oslo"}
    ok(client.post(f"/v1/runs/{again}:cancel", json={}))
    page = screen(f"/runs/{again}").ready("unasked").page
    page.get_by_role("button", name="Retry …").click()
    form = page.get_by_role("dialog", name="Retry the run")
    form.get_by_label("Input").fill("plain words")
    form.get_by_label("It is").select_option("text")
    form.get_by_role("button", name="Retry", exact=True).click()
    page.wait_for_url(lambda url: again not in url)
    assert ok(client.get(f"/api/v1/runs/{page.url.rsplit('/', 1)[1]}"))["input"] == "plain words"


def test_nothing_is_asked_of_whoever_selects_runs_that_are_over(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/runs").ready("Runs").page
    page.get_by_label(f"Select run {seeds.done[-6:]}").check()
    page.get_by_role("button", name="Cancel …").click()
    page.get_by_text("Nothing to cancel: the selected run has ended.").wait_for()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_hit_says_where_it_was_found_and_marks_the_words(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/runs?q=send+LETTER").ready("Runs").page
    row = page.locator(f'[data-id="{seeds.asking}"]')
    expect(row).to_contain_text("said: send the letter?")
    assert row.locator("mark").all_inner_texts() == ["send", "letter"]


def test_the_rows_of_tools_open_the_calls_and_those_their_events(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen(f"/runs/{seeds.done}?tab=tools").ready("writer").page
    page.locator('[data-id="search"] a.open').click()
    calls = page.get_by_role("table", name="Calls")
    expect(calls).to_contain_text("towers")
    expect(calls).to_contain_text("two")
    calls.locator("a.open").first.click()
    page.get_by_text("All fields").wait_for()


def test_threads_are_found_by_a_part_of_their_name(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/threads").ready("Threads").page
    page.get_by_label("Thread or title").fill("CLEAN")
    expect(page.get_by_role("table", name="Threads")).to_have_attribute("aria-rowcount", "2")
    # It is the server that looks, and the address says what for.
    assert page.url.endswith("/threads?q=CLEAN")
    page.reload()
    expect(page.get_by_role("table", name="Threads")).to_have_attribute("aria-rowcount", "2")
    page.get_by_label("Thread or title").fill("nowhere")
    page.get_by_text("No thread matches.").wait_for()
    page.get_by_role("link", name="All threads").click()
    page.get_by_role("table", name="Threads").wait_for()
    expect(page.get_by_label("Thread or title")).to_have_value("")


def test_a_field_that_searches_keeps_what_is_typed(screen: OpenScreen, seeds: Seeds) -> None:
    """Whoever types on is not put back to what was asked meanwhile."""
    page = screen("/runs").ready("Runs").page
    field = page.get_by_label("Search by words, id or agent")
    field.fill("send ")
    expect(page.get_by_role("table", name="Runs")).to_have_attribute("aria-rowcount", "2")
    assert page.url.endswith("/runs?q=send")
    expect(field).to_have_value("send ")
    field.press_sequentially("letter")
    page.wait_for_url("**/runs?q=send+letter")
    expect(field).to_have_value("send letter")
    field.fill("")
    page.locator(f'[data-id="{seeds.done}"]').wait_for()
    assert page.url.endswith("/runs")


def test_on_a_phone_a_hit_says_whose_run_it_is_and_how_it_ended(screen: OpenScreen, seeds: Seeds) -> None:
    one = screen("/runs?q=paper", width=360).ready("Runs")
    row = one.page.locator(f'[data-id="{seeds.failed}"]')
    expect(row).to_contain_text("✕ writer")
    expect(row.locator("mark")).to_have_text("paper")
    assert one.overflow() <= 0
    row.get_by_role("button", name="All of this row").click()
    expect(one.page.get_by_role("dialog")).to_contain_text(seeds.failed[-6:])
    expect(one.page.get_by_role("dialog").get_by_text("Who", exact=True)).to_have_count(0)


def test_the_audit_is_filtered_by_what_was_done(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/audit").ready("Audit").page
    page.get_by_label("What was done").select_option("budget.create")
    expect(page.get_by_role("table", name="Audit")).to_have_attribute("aria-rowcount", "2")
    assert page.url.endswith("/audit?action=budget.create")


def test_labels_of_a_run_lead_to_the_runs_that_have_them(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    made = [
        create_run(client, f"labelled-{team}", agent="nobody", input="x", metadata={"labels": {"team": team}})["run_id"]
        for team in ("search", "ads")
    ]
    one = screen(f"/runs/{made[0]}").ready("nobody")
    one.page.get_by_role("link", name="team:search").click()
    one.ready("Runs")
    one.page.locator(f'[data-id="{made[0]}"]').wait_for()
    expect(one.page.locator(f'[data-id="{made[1]}"]')).to_have_count(0)


def test_now_says_which_queued_runs_no_worker_serves(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    """The server has to listen for a minute and a half before it calls a run unserved: its answer is put forward."""
    create_run(server.client(), "served", agent="somebody", input="x")

    def unserved(route: Route) -> None:
        reply = route.fetch()
        told = reply.json()
        for lane in told["data"]:
            lane["unserved"] = lane["agent"] == "nobody"
        told["unserved"] = sum(lane["unserved"] for lane in told["data"])
        route.fulfill(response=reply, json=told)

    one = screen("/budgets").ready("Budgets")
    one.page.route("**/api/v1/lanes?*", unserved)
    one.page.keyboard.press("g")
    one.page.keyboard.press("n")
    one.ready("Now")
    said = one.page.get_by_role("region", name=re.compile("need.? you"))
    expect(said).to_contain_text(re.compile(r"\d+ runs?: no worker serves\s+nobody"))
    expect(said).not_to_contain_text("somebody")
    said.get_by_role("link", name=re.compile(r"^\d+ runs?$")).click()
    queue = one.ready("Workers").page.get_by_role("table", name="Queue").get_by_role("row")
    expect(queue.filter(has_text="nobody").first).to_contain_text("no worker serves it")
    expect(queue.filter(has_text="somebody")).to_contain_text("not taken yet")


def test_an_alert_finds_its_place_while_now_is_read(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    """It stands by what it is about, and nobody is told that it is over."""
    rule = {"name": "money goes", "trigger": "budget", "config": {"fraction": 0.01}, "cooldown_minutes": 0}
    ok(server.client().post("/api/v1/alert-rules", json=rule), 201)
    tell(server.client(), "run_start", "spends", {"input": "x"}, agent_name="spender")
    tell(server.client(), "run_end", "spends", {"cost_usd": 0.001})
    held: list[Route] | None = []

    def hold(route: Route) -> None:
        if held is None:
            route.continue_()
        else:
            held.append(route)

    one = screen("/audit").ready("Audit")
    one.page.route("**/api/v1/budgets?*", hold)
    one.page.keyboard.press("g")
    one.page.keyboard.press("n")
    cards = one.page.locator("[data-place]").filter(has_text="money goes")
    expect(cards.get_by_text("▲ alert")).to_be_visible()
    # What is asked for meanwhile, as by a row of the stream, is not held.
    first, held = held or [], None
    for route in first:
        route.continue_()
    expect(cards.get_by_role("link", name="all of it")).to_be_visible()
    # At once: a card that is shown as over goes by itself after a minute.
    assert cards.count() == 1


def test_a_sum_without_the_price_of_a_call_has_a_plus_beneath_its_chart_too(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen("/usage").ready("Usage").page
    expect(page.get_by_role("img", name=re.compile(r"^Cost: Total: \$[\d.]+\+\.$"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"^Total: \$[\d.]+\+$"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile(r"^Tokens: Total: [\d,]+\.$"))).to_be_visible()


def test_usage_by_model_counts_a_run_once(screen: OpenScreen, server: Server, seeds: Seeds) -> None:
    client = server.client()
    calls = [("model.call", {"model": f"usage-{one}", "cost_usd": 0.5, "input_tokens": 1}) for one in ("first", "last")]
    told = [("run.started", {"input": "x"}), *calls, ("run.completed", {})]
    events = [
        {
            "event_id": f"twice-{seq}",
            "client_seq": seq,
            "run_key": "twice",
            "agent": "twice",
            "type": kind,
            "data": data,
        }
        for seq, (kind, data) in enumerate(told, 1)
    ]
    ok(client.post("/api/v1/events", json={"client_id": "twice", "events": events}))
    page = screen("/usage?by=model").ready("Usage").page
    page.get_by_text("under its last one").wait_for()
    cells = {
        name: page.locator(f'[data-id="usage-{name}"]').get_by_role("cell").all_inner_texts()
        for name in ("first", "last")
    }
    names = page.get_by_role("table", name="Usage by model").get_by_role("columnheader").all_inner_texts()
    runs, failed = names.index("Runs"), names.index("Failed")
    assert {name: (row[runs].strip(), row[failed].strip()) for name, row in cells.items()} == {
        "first": ("0", "–"),
        "last": ("1", "0 %"),
    }


def test_a_search_through_many_threads_goes_on_when_asked(screen: OpenScreen, seeds: Seeds) -> None:
    """Each answer has looked at a part of them: the page says so, and reads on."""
    asked: list[str] = []
    row = {
        "thread_id": "found-late", "title": None, "policy": "enqueue", "run_count": 1, "open_run_count": 0,
        "created_at": "2026-04-02T10:00:00.000Z", "updated_at": "2026-04-02T10:00:00.000Z",
    }  # fmt: skip

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        part = int(route.request.url.partition("cursor=part")[2].partition("&")[0] or 1)
        cursor = f"part{part + 1}" if part < 7 else None
        route.fulfill(json={"data": [] if cursor else [row], "next": cursor})

    page = screen("/threads").ready("Threads").page
    page.route("**/api/v1/threads?*q=late*", answer)
    page.get_by_label("Thread or title").fill("late")
    page.get_by_label("Thread or title").press("Enter")
    page.get_by_text("No thread matches so far.").wait_for()
    assert max(url.partition("cursor=")[2] for url in asked) == "part5", asked
    page.get_by_role("button", name="Search older threads").click()
    expect(page.get_by_role("table", name="Threads")).to_contain_text("found-late")
    expect(page.get_by_role("button", name="Search older threads")).to_have_count(0)


def test_on_a_wide_screen_events_stand_beside_the_timeline(screen: OpenScreen, seeds: Seeds) -> None:
    page = screen(f"/runs/{seeds.done}").ready("writer").page
    drawn, events = page.get_by_role("img", name="Timeline"), page.get_by_role("listbox", name="Events")
    drawn.wait_for()
    for width, is_beside in ((1440, True), (1280, True), (1000, False)):
        page.set_viewport_size({"width": width, "height": 900})
        left, right = drawn.bounding_box(), events.bounding_box()
        assert left is not None
        assert right is not None
        assert (right["x"] >= left["x"] + left["width"] and right["y"] < left["y"] + left["height"]) == is_beside, width


@pytest.mark.parametrize("act", ["budget", "rule", "price", "run"])
def test_what_cannot_be_undone_is_confirmed_by_typing(screen: OpenScreen, server: Server, act: str) -> None:
    client, name = server.client(), f"doomed-{act}"
    if act == "budget":
        made = {"name": name, "scope": {"agent": name}, "amount_usd": 1, "period": "day", "action": "warn"}
        ok(client.post("/api/v1/budgets", json=made), 201)
        page, typed, done = screen("/budgets").ready("Budgets").page, name, "Delete it"
    elif act == "rule":
        ok(client.post("/api/v1/alert-rules", json={"name": name, "trigger": "error"}), 201)
        page, typed, done = screen("/alerts?tab=rules").ready("Alerts").page, name, "Delete it"
    elif act == "price":
        ok(client.post("/api/v1/prices", json={"model": name, "usd_per_million": {"input": 1}}), 201)
        page, typed, done = screen("/settings?tab=prices").ready("Settings").page, name, "Delete it"
    else:
        run_id = create_run(client, name, agent=name)["run_id"]
        page, typed, done = screen(f"/runs/{run_id}").ready(name).page, run_id[-6:], "Cancel the run"
    asked = "Cancel …" if act == "run" else "Delete …"
    holder = page.locator("main")
    if act != "run":
        holder = page.locator("[data-id]").filter(has_text=name)
    holder.get_by_role("button", name=asked).click()
    button = page.get_by_role("dialog").get_by_role("button", name=done)
    expect(button).to_be_disabled()
    page.get_by_role("dialog").get_by_label(f"Type {typed} to go on").fill(typed)
    button.click()
    if act == "run":
        expect(page.get_by_text("cancelled").first).to_be_visible()
    else:
        expect(holder).to_have_count(0)
