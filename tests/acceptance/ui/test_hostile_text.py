"""Hostile text in every string field of every dialect, on every page: it is shown as text, and nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser

from tests.acceptance.test_golden import filled, value_at
from tests.acceptance.ui.conftest import BUILT
from tests.acceptance.ui.hostile import PAYLOADS, Conversation, Request, conversations
from tests.acceptance.ui.screens import Screen, opened
from tests.support.browser import token_of
from tests.support.senders import sdk_event, tell
from tests.support.server import NO_LIMITS, Server

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}
MAX_RUN_PAGES = 24
MAX_LINKS = 6
PAGES = (
    *("/", "/runs", "/approvals", "/agents", "/threads", "/workers", "/usage", "/usage?by=model", "/usage?by=thread"),
    *("/budgets", "/alerts", "/alerts?tab=rules", "/alerts?tab=deliveries", "/audit", "/settings?tab=keys"),
    *("/settings?tab=members", "/settings?tab=prices", "/settings?tab=you"),
    *("/settings?tab=personas", "/settings?tab=webhooks", "/settings?tab=retention", "/settings?tab=sessions"),
)
RUN_TABS = ("", "?seq=1", "?seq=2", "?tab=conversation", "?tab=tools", "?tab=checkpoints", "?tab=children")
MORE_TABS = ("?tab=leases", "?tab=raw", "/replay")
WATCH = """
addEventListener('securitypolicyviolation', (event) =>
  sentinel(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
GO = "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }"
UNSEEN = r"""() => {
  const unseen = /(?![\n\t])(?!(?<=\p{Extended_Pictographic})\u200d)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  const note = (text, where) => {
    if (text && unseen.test(text)) found.push(`${where}: ${JSON.stringify(text.slice(0, 120))}`);
  };
  const names = ['title', 'aria-label', 'placeholder', 'alt'];
  note(document.title, 'title');
  for (let node = walk.currentNode; node; node = walk.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) note(node.data, node.parentElement.outerHTML.slice(0, 80));
    else for (const name of names) note(node.getAttribute(name), `${node.tagName} ${name}`);
  }
  return found;
}"""
"""Characters that hide, turn round or erase text, wherever a person reads; the joiner of an emoji is none."""
REFUSED = re.compile(r"the server responded with a status of (400|404|409|422)")


class Loaded(NamedTuple):
    """A server with hostile text in it, and who may look at it."""

    server: Server
    admin: httpx2.Client
    answers: Counter[int]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One for each kind of text."""
    assert BUILT.is_file(), "the dashboard is not built: run `make setup`"
    with Server(tmp_path / "data", NO_LIMITS) as started:
        yield started
        started.stop()


def loaded(server: Server, kind: str) -> Loaded:
    """Sends all of it; nothing of it breaks the server."""
    admin, answers = server.client(), Counter[int]()
    payload = PAYLOADS[kind]
    admin.post("/api/v1/alert-rules", json={"name": "failed", "trigger": "error", "cooldown_minutes": 0})
    for conversation in conversations(payload):
        play(admin, conversation, answers)
    _some_of_each(admin, payload)
    return Loaded(server, admin, answers)


def play(admin: httpx2.Client, conversation: Conversation, answers: Counter[int]) -> None:
    """Sends a conversation; what needs something that was not made is left out."""
    saved = dict(_known(admin)) if conversation.name == "openapi" else {}
    for request in conversation.requests:
        try:
            path = filled(request.path, saved, fresh=False)
            body = filled(request.body, saved, fresh=True) if saved or "{uuid}" in str(request.body) else request.body
        except KeyError:
            continue
        reply = sent(admin, request, path, body)
        answers[reply.status_code] += 1
        assert reply.status_code < 500, f"{request.method} {path}: {reply.text[:300]}"
        if reply.status_code < 300:
            saved |= {name: str(value_at(reply.json(), at)) for name, at in request.save.items()}


def sent(admin: httpx2.Client, request: Request, path: str, body: Any) -> httpx2.Response:
    """One request as a client of that dialect sends it."""
    if body is None:
        return admin.request(request.method, path, params=request.query, headers=request.headers)
    headers = {name: value for name, value in request.headers.items() if name.lower() != "authorization"}
    content = json.dumps(body).encode()
    return admin.request(request.method, path, params=request.query, headers={**headers, **JSON}, content=content)


def _known(admin: httpx2.Client) -> dict[str, str]:
    """Ids for the paths of the OpenAPI document."""
    tell(admin, "run_start", "for-the-document", {"input": "x"}, agent_name="documented")
    run = next(r for r in admin.get("/api/v1/runs", params={"agent": "documented"}).json()["data"])
    rule = admin.get("/api/v1/alert-rules").json()["data"][0]
    known = {"run_id": run["run_id"], "id": run["agent_id"], "thread_id": run["thread_id"], "step_index": "1"}
    others = dict.fromkeys(("approval_id", "alert_id", "delivery_id", "budget_id"), run["run_id"])
    return {**known, **others, "trace_id": "documented", "rule_id": rule["rule_id"], "user_id": run["agent_id"]}


def _some_of_each(admin: httpx2.Client, payload: str) -> None:
    """An open question, a tool that has failed and an answer, whatever the conversations have ended."""
    short = payload[:2_000]
    agent = {"agent_name": short[:200]}
    for event in (
        sdk_event("run_start", "asks", {"input": payload, "framework": short}, **agent),
        sdk_event("tool_call", "asks", {"tool_name": short[:200], "phase": "start", "input_preview": payload}),
        sdk_event("tool_call", "asks", {"tool_name": short[:200], "phase": "end", "error": payload, "success": False}),
        sdk_event("human_input_requested", "asks", {"question": payload, "context": {short[:100]: payload}}),
        sdk_event("run_start", "fails", {"input": payload}, **agent),
        sdk_event("error", "fails", {"error_type": short, "error_message": payload}),
    ):
        reply = admin.post("/api/ingest", content=json.dumps(event).encode(), headers=JSON)
        assert reply.status_code == 200, reply.text


def watched(browser: Browser, one: Loaded) -> Screen:
    """A page that is told of everything that may not happen."""
    screen = opened(
        browser, one.server.base_url, "/settings?tab=you", width=1440, theme="light", token=token_of(one.admin),
        before=lambda made: _listen(made),
    )  # fmt: skip
    return screen.ready("Settings")


def _listen(screen: Screen) -> None:
    screen.page.expose_function("sentinel", lambda words="": screen.faults.append(f"it ran: {words}"))
    screen.page.add_init_script(WATCH)


def looked_at(screen: Screen, path: str) -> int:
    """Goes to a path as a link does; what is unseen on the page is a fault. How long its text is."""
    page = screen.page
    page.evaluate(GO, path)
    page.wait_for_function("path => location.pathname + location.search === path", arg=path)
    page.locator("h1").first.wait_for()
    page.get_by_text("Loading", exact=True).first.wait_for(state="detached")
    screen.faults.extend(f"{path} {found}" for found in page.evaluate(UNSEEN))
    assert page.locator("main script, main img, main iframe, main style, main object").count() == 0, path
    return len(page.locator("body").inner_text())


def runs_to_look_at(admin: httpx2.Client, most: int) -> list[dict[str, Any]]:
    """Runs that together have every type of event of every dialect."""
    runs = admin.get("/api/v1/runs", params={"limit": 200}).json()["data"]
    kinds: dict[str, set[tuple[str, str]]] = {}
    for run in runs:
        events = admin.get(f"/api/v1/runs/{run['run_id']}/events", params={"limit": 200}).json()["data"]
        kinds[run["run_id"]] = {(run["source"], event["type"]) for event in events}
    wanted, chosen = set[tuple[str, str]]().union(*kinds.values()), []
    while wanted and len(chosen) < most:
        best = max(runs, key=lambda run: len(kinds[run["run_id"]] & wanted))
        chosen.append(best)
        wanted -= kinds[best["run_id"]]
    assert not wanted or most < MAX_RUN_PAGES, f"{len(wanted)} kinds of events are not looked at"
    return chosen


def paths_of(one: Loaded, payload: str, most: int) -> list[str]:
    """Every page with what it can be about, and addresses that are hostile themselves."""
    admin, runs = one.admin, runs_to_look_at(one.admin, most)
    paths = list(PAGES)
    for run in runs:
        paths += [f"/runs/{run['run_id']}{tab}" for tab in (*RUN_TABS, *MORE_TABS)]
    paths.append(f"/compare?a={runs[0]['run_id']}&b={runs[-1]['run_id']}")
    for noun, name in (("agents", "agent_id"), ("threads", "thread_id")):
        rows = admin.get(f"/api/v1/{noun}", params={"limit": 200}).json()["data"]
        paths += [f"/{noun}/{quote(row[name], safe='')}" for row in rows[:most]]
    return paths


def odd_paths(payload: str) -> list[str]:
    """Addresses with the text in them."""
    text = quote(payload[:300], safe="", errors="replace")
    names = (
        "q",
        "agent",
        "model",
        "status",
        "label",
        "metadata",
        "since",
        "until",
        "thread_id",
        "cols",
        "min_cost_usd",
    )
    return [
        *(f"/runs?{name}={text}" for name in names),
        *(f"{page}{text}" for page in ("/runs/", "/agents/", "/threads/", "/compare?a=", "/sign-in?next=")),
        *(f"{page}={text}" for page in ("/usage?by", "/usage?span", "/alerts?tab", "/settings?tab", "/agents/x?feed")),
    ]


def check_still_pages(screen: Screen, one: Loaded, payload: str) -> int:
    """The documentation, and the pages behind answer links; how many of these there were."""
    text = quote(payload[:300], safe="", errors="replace")
    for path in ("/docs", f"/docs?q={text}", f"/docs#{text}"):
        screen.page.goto(one.server.base_url + path, wait_until="load")
    asked = one.admin.get("/api/v1/approvals", params={"limit": MAX_LINKS}).json()["data"]
    for approval in asked:
        link = one.admin.post(f"/api/v1/approvals/{approval['approval_id']}/links", json={"sent_to": "ops"}).json()
        screen.page.goto(one.server.base_url + link["path"], wait_until="load")
        screen.faults.extend(f"/a/… {found}" for found in screen.page.evaluate(UNSEEN))
        assert screen.page.locator("script, img, iframe").count() == 0
    return len(asked)


@pytest.mark.parametrize("kind", PAYLOADS)
def test_hostile_text_is_text(browser: Browser, server: Server, kind: str) -> None:
    one = loaded(server, kind)
    assert one.answers[200] + one.answers[201] > 100, one.answers
    screen = watched(browser, one)
    for path in paths_of(one, PAYLOADS[kind], MAX_RUN_PAGES):
        looked_at(screen, path)
    assert not screen.faults, screen.faults
    for path in odd_paths(PAYLOADS[kind]):
        reply = screen.page.goto(one.server.base_url + path, wait_until="load")
        if reply is not None and "html" in reply.headers["content-type"]:  # no page has a slash in a name
            screen.page.locator("h1").first.wait_for()
        screen.faults.extend(f"{path} {found}" for found in screen.page.evaluate(UNSEEN))
    assert check_still_pages(screen, one, PAYLOADS[kind]) > 0
    screen.faults = [fault for fault in screen.faults if not REFUSED.search(fault)]
    screen.close()


def test_what_happens_is_seen(browser: Browser, server: Server) -> None:
    """A script that runs, a request elsewhere and a breach of the policy are each a fault of the screen."""
    screen = watched(browser, Loaded(server, server.client(), Counter()))
    page = screen.page
    page.evaluate("() => sentinel('by hand')")
    page.evaluate(
        "() => { const img = new Image(); img.src = 'https://elsewhere.invalid/x'; document.body.append(img); }"
    )
    page.evaluate("() => document.querySelector('h1').append('\\u202e')")
    page.wait_for_function("() => true")
    screen.faults.extend(page.evaluate(UNSEEN))
    page.wait_for_timeout(0)
    told = " ".join(screen.faults)
    assert "by hand" in told
    assert "policy: img-src" in told
    assert "H1" in told or "h1" in told
    assert urlsplit(page.url).path == "/settings"
    screen.faults.clear()
    screen.close()
