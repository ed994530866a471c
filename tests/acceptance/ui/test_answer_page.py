"""The page behind an answer link, as a phone shows it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.ui.screens import opened
from tests.support.senders import tell
from tests.support.server import Server

pytestmark = pytest.mark.slow
NARROW = 360


@pytest.mark.parametrize("text", ["x" * 600, "a few words " * 50], ids=["one word", "words"])
def test_it_fits_a_phone(browser: Browser, server: Server, text: str) -> None:
    client = server.client()
    name = f"linked-{text[:3]}"
    tell(client, "run_start", name, {"input": "x"}, agent_name=name)
    context = {"why": text, text: [text]}
    tell(client, "human_input_requested", name, {"question": text, "context": context, "schema": {"enum": [text]}})
    (one,) = [row for row in client.get("/api/v1/approvals").json()["data"] if row["agent"] == name]
    link = client.post(f"/api/v1/approvals/{one['approval_id']}/links", json={"sent_to": text[:100]}).json()
    screen = opened(browser, server.base_url, link["path"], width=NARROW, theme="dark", token=None)
    page = screen.page
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert screen.overflow() <= 0
    field = page.get_by_role("button").bounding_box()
    assert field is not None
    assert field["x"] + field["width"] <= NARROW
    assert "system-ui" in page.evaluate("getComputedStyle(document.body).fontFamily")
    assert screen.violations() == []
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    screen.close()


def test_a_high_risk_is_confirmed_there_too(browser: Browser, server: Server) -> None:
    client = server.client()
    tell(client, "run_start", "linked-risk", {"input": "x"}, agent_name="linked-risk")
    tell(client, "human_input_requested", "linked-risk", {"question": "Drop it?", "risk": "critical"})
    (one,) = [row for row in client.get("/api/v1/approvals").json()["data"] if row["agent"] == "linked-risk"]
    link = client.post(f"/api/v1/approvals/{one['approval_id']}/links", json={"sent_to": "grace"}).json()
    screen = opened(browser, server.base_url, link["path"], width=NARROW, theme="light", token=None)
    page = screen.page
    page.get_by_role("textbox").fill("yes")
    page.get_by_role("button", name="Send").click()
    sure = page.get_by_role("checkbox", name="I am sure: the risk is critical")
    assert sure.evaluate("box => box.validity.valueMissing")
    assert screen.overflow() <= 0
    assert screen.violations() == []
    assert client.get(f"/api/v1/runs/{one['run_id']}").json()["status"] == "waiting_for_input"
    sure.check()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    screen.close()
