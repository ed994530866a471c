"""The dashboard in Chromium: how soon a long run and a long list are there, how smooth they are, what a tab holds."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from bench import servers
from bench.context import Context
from bench.corpus import compact
from bench.figures import Row
from bench.servers import Server
from bench.wire import Client, Refused

NAME = "dashboard"
STORED_PART = 10
"""Of the events of the scenario `million`: as many runs, and as many events of one run."""
BATCH = 500
EVENTS_PER_SECOND = 1_000
WATCHED_SECONDS = 5.0
OPENINGS = 5
MAX_OPEN_MS, MAX_LIST_MS, MAX_TAB_MB, MIN_FPS = 1_000.0, 300.0, 200.0, 50.0
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
PAINTED = """selector => new Promise((done) => {
  const drawn = () => done(performance.now());
  const look = () => requestAnimationFrame(document.querySelector(selector) ? drawn : look);
  look();
})"""
"""When the first of these was painted, in ms from the beginning of the page."""
GO = """path => {
  history.pushState(null, '', path);
  dispatchEvent(new PopStateEvent('popstate'));
  return performance.now();
}"""
FRAMES = """([seconds, selector]) => new Promise((done) => {
  const box = selector && document.querySelector(selector), begin = performance.now();
  let frames = 0;
  const next = () => {
    frames += 1;
    if (box) box.scrollTop += 137;
    const took = (performance.now() - begin) / 1000;
    if (took >= seconds) done(frames / took); else requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})"""


def measure(context: Context) -> list[Row]:
    """Fill a store, look at it, then let a run go on while it is looked at."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise Refused("it needs Chromium")
    count = context.effort.stored_events // STORED_PART
    with context.folder(NAME) as folder, servers.towerlog(folder / "data") as server, sync_playwright() as playwright:
        long_run = fill(server, count)
        context.say(f"{count} runs, and {count} events of one of them, are stored")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with signed_in(browser, server) as page:
            rows = [*look(page, server, long_run, count), *watch(page, server)]
        browser.close()
        server.stop()
    return rows


def fill(server: Server, count: int) -> str:
    """So many runs, and so many events of one that goes on; the id of that one."""
    with Client(server.port, server.key) as client:
        send(client, ({"run_key": f"r{n}", "type": "run.started", "agent": f"agent-{n % 40}"} for n in range(count)))
        send(client, [{"run_key": "long", "type": "run.started", "agent": "long"}])
        send(client, ({"run_key": "long", "type": "tool.call", "data": {"tool": "t", "n": n}} for n in range(count)))
        return run_id_of(client, "long")


def send(client: Client, events: Iterator[dict[str, object]] | list[dict[str, object]], origin: str = "bench") -> None:
    """Events of the native API, in batches; each batch is of a client of its own, which numbers them from 1."""
    batch: list[dict[str, object]] = []
    for number, event in enumerate(events):
        batch.append(
            {"event_id": f"{origin}-{event['run_key']}-{number}", "client_seq": len(batch) + 1, "data": {}, **event}
        )
        if len(batch) == BATCH:
            post(client, batch)
            batch = []
    if batch:
        post(client, batch)


def post(client: Client, batch: list[dict[str, object]]) -> None:
    client.post("/api/v1/events", compact({"client_id": f"bench-{time.monotonic_ns()}", "events": batch}))


def run_id_of(client: Client, agent: str) -> str:
    """The newest run of an agent."""
    found = client.get(f"/api/v1/runs?agent={agent}&limit=1").json()
    return str(found["data"][0]["run_id"])


@contextmanager
def signed_in(browser: Browser, server: Server) -> Iterator[Page]:
    """A page on which an administrator is signed in."""
    origin = f"http://127.0.0.1:{server.port}"
    with Client(server.port, server.key) as client:
        token = client.post("/api/v1/sign-in-links", b"{}").json()["token"]
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=origin)
    own = {"Origin": origin, "X-Towerlog-Request": "1"}
    context.request.post("/api/v1/sign-in", data={"token": token}, headers=own)
    yield context.new_page()
    context.close()


def look(page: Page, server: Server, long_run: str, count: int) -> list[Row]:
    """The list and the long run, each opened several times; the best of them is what the page can do."""
    lists = []
    for _ in range(OPENINGS):
        page.goto("/runs", wait_until="commit")
        lists.append(page.evaluate(PAINTED, "main [data-id]"))
    opened = []
    for _ in range(OPENINGS):
        begun = page.evaluate(GO, f"/runs/{long_run}")
        opened.append(page.evaluate(PAINTED, "[role=option] .said") - begun)
        smooth = page.evaluate(FRAMES, [WATCHED_SECONDS / OPENINGS, "[role=listbox]"])
        page.evaluate(GO, "/runs")
        page.evaluate(PAINTED, "main [role=table]")
    page.evaluate(GO, f"/runs/{long_run}")
    page.evaluate(PAINTED, "[role=option] .said")
    smooth = max(smooth, page.evaluate(FRAMES, [WATCHED_SECONDS, "[role=listbox]"]))
    detail = {"stored": count, "all_ms": [round(one) for one in opened]}
    return [
        Row(NAME, "run list: to its first rows", "ms", min(lists), threshold=MAX_LIST_MS,
            detail={"stored": count, "all_ms": [round(one) for one in lists]}),
        Row(NAME, "long run: to its first events", "ms", min(opened), threshold=MAX_OPEN_MS, detail=detail),
        Row(NAME, "long run: frames while scrolling", "fps", smooth, threshold=MIN_FPS, bound="at least"),
        Row(NAME, "long run: memory of the tab", "MB", tab_mb(page), threshold=MAX_TAB_MB),
    ]  # fmt: skip


def watch(page: Page, server: Server) -> list[Row]:
    """Frames while events stream into the run that is open."""
    with Client(server.port, server.key) as client:
        send(client, [{"run_key": "streaming", "type": "run.started", "agent": "streaming"}])
        run_id = run_id_of(client, "streaming")
    page.evaluate(GO, f"/runs/{run_id}")
    page.evaluate(PAINTED, "[role=option] .said")
    sender = threading.Thread(target=stream, args=(server,))
    sender.start()
    fps = page.evaluate(FRAMES, [WATCHED_SECONDS, ""])
    sender.join()
    return [Row(NAME, "frames at 1,000 events/s", "fps", fps, threshold=MIN_FPS, bound="at least")]


def stream(server: Server) -> None:
    """A hundred events ten times a second."""
    rounds, size = int(WATCHED_SECONDS * 10), EVENTS_PER_SECOND // 10
    with Client(server.port, server.key) as client:
        begun = time.perf_counter()
        for number in range(rounds):
            time.sleep(max(begun + number / 10 - time.perf_counter(), 0))
            send(
                client, [{"run_key": "streaming", "type": "step", "data": {"n": n}} for n in range(size)], f"s{number}"
            )


def tab_mb(page: Page) -> float:
    """What the page's process has to itself, as the kernel counts it."""
    page.request.get("/healthz")
    session: CDPSession = page.context.browser.new_browser_cdp_session()  # type: ignore[union-attr]
    session.send("SystemInfo.getProcessInfo")
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    sizes = [pss_mb(int(one["id"])) for one in found if one["type"] == "renderer"]
    session.detach()
    return max(sizes)


def pss_mb(pid: int) -> float:
    """Its proportional share of memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
