"""Empty pages teach: the lines that each shows work as they stand, and the page turns live by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.acceptance.ui.conftest import OpenScreen
from tests.support.server import NO_LIMITS, Server, clean_environment

pytestmark = pytest.mark.slow
LINES_DEADLINE_S = 120
EXPORTER = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
named = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "hello"}
provider.get_tracer("hello").start_span("invoke_agent hello", attributes=named).end()
provider.shutdown()
"""
"""A program whose agent exports OpenTelemetry."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An empty one for each test."""
    with Server(tmp_path / "data", NO_LIMITS) as started:
        yield started
        started.stop()


@contextmanager
def carried_out(lines: str, folder: Path) -> Iterator[None]:
    """While the lines of a page run in a terminal; what goes on by itself is ended after the block."""
    environment = clean_environment({"HOME": str(folder)})
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with (folder / "told").open("wb") as told:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", lines],
            cwd=folder,
            env=environment,
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
        try:
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(LINES_DEADLINE_S)


LESSONS = [
    ("/", "Now", "Terminal", "Your first run has arrived:"),
    ("/runs", "Runs", "curl", "hello"),
    ("/runs", "Runs", "OpenTelemetry", "hello"),
    ("/agents", "Agents", "Python", "hello"),
    ("/threads", "Threads", "curl", "hello-1"),
    ("/usage", "Usage", "curl", "gpt-4o-mini"),
    ("/usage", "Usage", "Python", "gpt-4o-mini"),
    ("/approvals", "Approvals", "curl", "Publish it?"),
    ("/approvals", "Approvals", "Python", "Publish it?"),
    ("/workers", "Workers", None, "Last heard"),
    ("/budgets", "Budgets", "Terminal", "everything"),
    ("/budgets", "Budgets", "curl", "everything"),
    ("/alerts?tab=rules", "Alerts", "Terminal", "failed runs"),
    ("/alerts", "Alerts", "curl", "Nothing has fired."),
]
"""A path, its heading, the way of its lesson that is tried, and what the page shows once it is live."""


@pytest.mark.parametrize(("path", "heading", "way", "shown"), LESSONS)
def test_the_lines_of_an_empty_page_fill_it(
    screen: OpenScreen, tmp_path: Path, path: str, heading: str, way: str | None, shown: str
) -> None:
    one = screen(path if heading != "Usage" else "/usage?by=model").ready(heading)
    page = one.page
    page.evaluate("window.stays = true")
    page.get_by_role("button", name="Make a key for these lines").click()
    if way is not None:
        page.get_by_role("button", name=way, exact=True).click()
    code = page.locator("main pre")
    expect(code).not_to_contain_text("…")
    assert one.overflow() <= 0
    assert one.violations() == []
    lines = code.inner_text()
    if way == "OpenTelemetry":
        (tmp_path / "exports.py").write_text(EXPORTER)
        lines += "\npython3 exports.py"
    if way == "Python":
        # A program of its own, as somebody would paste it into a file.
        (tmp_path / "hello.py").write_text(lines)
        lines = "python3 hello.py"
    with carried_out(lines, tmp_path):
        expect(page.locator("main pre")).to_have_count(0)
        expect(page.locator("main").get_by_text(shown).locator("visible=true").first).to_be_visible()
    assert page.evaluate("window.stays")


def test_who_makes_no_keys_is_told_whom_to_ask(screen: OpenScreen, server: Server) -> None:
    member = {"name": "a viewer", "role": "viewer"}
    user_id = server.client().post("/api/v1/members", json=member).json()["user_id"]
    page = screen("/runs", user_id=user_id, width=360, theme="dark").ready("Runs").page
    expect(page.locator("main")).to_contain_text("Put in a key from an administrator.")
    expect(page.get_by_role("button", name="Make a key for these lines")).to_have_count(0)
