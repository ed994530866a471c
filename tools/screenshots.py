"""Pictures of every page of the dashboard, with the demo's data and with none: light, dark, on a desk, on a phone.

    make screenshots            # all of them, into docs/images/
    make screenshots ARGS=runs  # only the pages whose name begins so

Three of them are the README's; git leaves the others out. They are made to be looked at, one by one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from examples.printed import LAST  # noqa: E402 - it lies beside this folder

TARGET = ROOT / "docs" / "images"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desk": (1440, 900), "phone": (360, 780)}
THEMES = ("light", "dark")
READY_S = 240.0
BARE_KEY = "adm_" + "0123456789abcdefghijklmnopqrstuvwxyzABCD"
SETTLED_MS = 30_000
PAINT_MS = 600
"""For the last frame of a chart; nothing waits for it but a picture."""

Json = dict[str, Any]


class Started:
    """A server in a process of its own, and what it prints."""

    key: str

    def __init__(self, folder: Path, command: list[str], ready: str, address: str) -> None:
        """Starts it, and waits until it has printed `ready`; `address` finds its URL in what it printed."""
        self.printed = folder / "printed"
        with self.printed.open("wb") as out:
            environment = {**os.environ, "TOWERLOG_BOOTSTRAP_KEY": BARE_KEY}
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=environment, stdout=out, stderr=out
            )
        ends_at = time.monotonic() + READY_S
        while ready not in self.printed.read_text():
            if self.process.poll() is not None or time.monotonic() > ends_at:
                raise SystemExit(f"It did not start: {command}\n{self.printed.read_text()[-2000:]}")
            time.sleep(0.2)
        found = re.search(address, self.printed.read_text())
        assert found is not None
        self.url = found[1]

    def call(self, path: str, body: Json | None = None) -> Json:
        """An answer of its server."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=30) as reply:
            told: Json = json.load(reply)
        return told

    def stop(self) -> None:
        """Ends it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


class Bare(Started):
    """A server that nobody has told anything."""

    def __init__(self, folder: Path) -> None:
        data = str(folder / "bare")
        command = ["-m", "towerlog", "serve", "--port", "0", "--data-dir", data]
        super().__init__(folder, command, "listens on", r"listens on (\S+)")
        self.key = BARE_KEY


class Demo(Started):
    """The demo on a port of its own, with some trouble added."""

    def __init__(self, folder: Path) -> None:
        data = str(folder / "data")
        command = ["examples/demo.py", "--data-dir", data, "--seconds", "3600"]
        super().__init__(folder, command, LAST, r"export TOWERLOG_URL=(\S+)")
        self.key = (folder / "data" / "demo.key").read_text().strip()

    def add_trouble(self) -> None:
        """A rule that fires; runs that fail, wait for a worker, tell model calls; a budget nearly spent; a price."""
        self.call("/api/v1/alert-rules", {"name": "failed runs", "trigger": "error", "cooldown_minutes": 0})
        scope = {"agent": "surveyor"}
        self.call(
            "/api/v1/budgets",
            {"name": "surveys", "scope": scope, "amount_usd": 0.001, "period": "day", "action": "warn", "warn_at": 0.5},
        )
        self.call("/api/v1/prices", {"model": "words-2", "usd_per_million": {"input": 0.5, "output": 2}})
        for kind, payload in (
            ("run_start", {"input": {"invoice": 4711}}),
            ("tool_call", {"tool_name": "ledger", "phase": "start", "input_preview": "book 4711"}),
            ("error", {"error_type": "LedgerClosed", "error_message": "the ledger of March is closed"}),
        ):
            event = {"event_type": kind, "sdk_run_id": "bookkeeping-1", "agent_name": "bookkeeper", "payload": payload}
            self.call("/api/ingest", event)
        self.call("/v1/threads/letters/runs", {"agent": "translator", "input": "into Norwegian, please"})
        self.call("/api/v1/events", {"client_id": "pictures", "events": list(forecasts())})

    def wait_for_ends(self) -> None:
        """Until each agent whose pictures are taken has ended a run."""
        ends_at, wanted = time.monotonic() + READY_S, {"counter", "reviewer", "surveyor"}
        while wanted - {run["agent"] for run in self.call("/api/v1/runs?limit=200&status=completed")["data"]}:
            if time.monotonic() > ends_at:
                raise SystemExit("The demo's agents have ended no run.")
            time.sleep(1)


def forecasts() -> Iterator[Json]:
    """Events of a run that tells its model calls with all that was said, and of two runs that it has started."""
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it warm in Oslo?"}]
    said = {"role": "assistant", "content": "No: 4 degrees, and rain until the evening."}
    more = [*asked, said, {"role": "user", "content": "And in Bergen?"}]
    model = {"model": "gpt-4o-mini", "output_tokens": 12, "duration_ms": 840}
    begun = {"labels": {"team": "weather"}, "input": "Is it warm?", "metadata": {"ticket": "T-17"}}
    told: list[tuple[str, str, Json]] = [
        ("forecast", "run.started", begun),
        ("forecast", "step", {"name": "ask", "phase": "start", "span_id": "ask"}),
        ("forecast", "model.call", {**model, "input_tokens": 22, "messages": asked, "response": said}),
        ("oslo", "run.started", {"input": "Oslo", "parent_run_key": "forecast"}),
        ("oslo", "tool.call", {"tool": "thermometer", "arguments": {"city": "Oslo"}}),
        ("oslo", "tool.result", {"tool": "thermometer", "result": 4}),
        ("oslo", "run.completed", {"result": 4}),
        ("bergen", "run.started", {"input": "Bergen", "parent_run_key": "forecast"}),
        ("bergen", "model.call", {**model, "input_tokens": 9}),
        ("bergen", "run.failed", {"error": "no thermometer in Bergen"}),
        ("forecast", "step", {"name": "ask", "phase": "end", "span_id": "ask", "duration_ms": 900}),
        ("forecast", "model.call", {**model, "input_tokens": 51, "messages": more, "response": "It rains there too."}),
        ("forecast", "run.completed", {"result": "cold and wet"}),
    ]
    seqs: Counter[str] = Counter()
    begin = datetime.now(UTC) - timedelta(seconds=len(told))
    for place, (run_key, kind, data) in enumerate(told):
        seqs[run_key] += 1
        yield {
            "event_id": f"picture-{place}",
            "client_seq": seqs[run_key],
            "time": (begin + timedelta(seconds=place)).isoformat(timespec="milliseconds"),
            "run_key": run_key,
            "agent": "forecaster",
            "type": kind,
            "data": data,
        }


def pages(demo: Demo) -> dict[str, str]:
    """Name of each picture → the path that it shows."""
    runs = demo.call("/api/v1/runs?limit=200")["data"]

    def one(agent: str, *, ended: bool = True) -> str:
        fit = [run for run in runs if run["agent"] == agent and (run["ended_at"] is not None) is ended]
        return str((fit or runs)[0]["run_id"])

    counter, reviewer, surveyor = one("counter"), one("reviewer"), one("surveyor")
    other = next((run["run_id"] for run in runs if run["agent"] == "counter" and run["run_id"] != counter), counter)
    agents = {agent["name"]: agent["agent_id"] for agent in demo.call("/api/v1/agents?limit=200")["data"]}
    thread = next(run["thread_id"] for run in runs if run["agent"] == "reviewer")
    parent = next((run["parent_run_id"] for run in runs if run["parent_run_id"]), reviewer)
    asks = (run["run_id"] for run in runs if run["status"] == "waiting_for_input" and run["agent"] == "publisher")
    step = f"/runs/{surveyor}?tab=checkpoints&checkpoint={quote('3:surveyor')}&against={quote('1:surveyor')}"
    return {
        "now": "/",
        "runs": "/runs",
        "run": f"/runs/{counter}?seq=4",
        "run-waiting": f"/runs/{next(asks)}",
        "run-failed": f"/runs/{one('bookkeeper')}",
        "run-conversation": f"/runs/{counter}?tab=conversation",
        "run-tools": f"/runs/{reviewer}?tab=tools",
        "run-checkpoints": step,
        "run-children": f"/runs/{parent}?tab=children",
        "run-leases": f"/runs/{counter}?tab=leases",
        "run-raw": f"/runs/{counter}?tab=raw",
        "replay": f"/runs/{reviewer}/replay?seq=12",
        "compare": f"/compare?a={other}&b={counter}",
        "approvals": "/approvals",
        "agents": "/agents",
        "agent": f"/agents/{agents['surveyor']}",
        "threads": "/threads",
        "thread": f"/threads/{quote(thread, safe='')}",
        "workers": "/workers",
        "usage": "/usage",
        "budgets": "/budgets",
        "alerts": "/alerts",
        "alerts-rules": "/alerts?tab=rules",
        "audit": "/audit",
        "settings": "/settings",
        "settings-members": "/settings?tab=members",
        "settings-prices": "/settings?tab=prices",
        "settings-personas": "/settings?tab=personas",
        "settings-webhooks": "/settings?tab=webhooks",
        "settings-sessions": "/settings?tab=sessions",
        "settings-organisation": "/settings?tab=organisation",
        "settings-retention": "/settings?tab=retention",
        "settings-you": "/settings?tab=you",
        "runs-columns": "/runs?cols=status,agent,persona,source,error,took,ended",
        "usage-thread": "/usage?by=thread",
        "alerts-deliveries": "/alerts?tab=deliveries",
        "nowhere": "/nowhere/at/all",
        "run-calls": f"/runs/{parent}?tab=conversation",
        "run-steps": f"/runs/{parent}?seq=11",
        "runs-search": "/runs?q=thermometer",
        "usage-model": "/usage?by=model",
        "agent-activity": f"/agents/{agents['housekeeper']}",
        # By now the server has listened for long enough to say that no worker asks for it.
        "run-queued": f"/runs/{one('translator', ended=False)}",
    }


EMPTY = ("now", "runs", "agents", "threads", "workers", "approvals", "usage", "budgets", "alerts")
"""Pages that say how they get something to show."""


def shoot(browser: Browser, server: Started, paths: dict[str, str], wanted: str) -> int:
    """All pictures whose name begins with `wanted`; how many there were."""
    shown = {name: path for name, path in paths.items() if name.startswith(wanted)}
    for size, (width, height) in SIZES.items():
        for theme in THEMES:
            scheme = "dark" if theme == "dark" else "light"
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            own = {"Origin": server.url, "X-Towerlog-Request": "1"}
            token = server.call("/api/v1/sign-in-links", {})["token"]
            context.request.post(f"{server.url}/api/v1/sign-in", data={"token": token}, headers=own)
            page = context.new_page()
            for name, path in shown.items():
                page.goto(server.url + path, wait_until="domcontentloaded")
                settle(page)
                page.screenshot(path=TARGET / f"{name}-{size}-{theme}.png")
            context.close()
    return len(shown) * len(SIZES) * len(THEMES)


def settle(page: Page) -> None:
    """Once what the page asked for is there."""
    page.locator("h1").wait_for(timeout=SETTLED_MS)
    page.wait_for_function("() => !document.body.innerText.includes('Loading')", timeout=SETTLED_MS)
    page.wait_for_timeout(PAINT_MS)


def main(arguments: list[str]) -> int:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("It needs Chromium; on Debian: apt-get install --no-install-recommends chromium")
    wanted = arguments[0] if arguments else ""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        bare = Bare(Path(folder))
        try:
            paths = {f"empty-{name}": "/" if name == "now" else f"/{name}" for name in EMPTY}
            made = shoot(browser, bare, paths, wanted)
        finally:
            bare.stop()
        demo = Demo(Path(folder))
        try:
            demo.add_trouble()
            demo.wait_for_ends()
            made += shoot(browser, demo, pages(demo), wanted)
        finally:
            demo.stop()
        browser.close()
    sys.stdout.write(f"{made} pictures in {TARGET.relative_to(ROOT)}: look at each of them.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
