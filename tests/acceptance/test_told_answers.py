"""Messages about what waits for a person carry a link that answers it: from the message to the agent, and only once."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.acceptance.conftest import FreshServer
from tests.acceptance.feeds import Json, ok
from tests.acceptance.test_approvals import Asker, asked_by_checkpoints, of_agent
from tests.acceptance.test_audit import audit
from tests.egress.mail.mail_servers import Mailbag, mail_server
from tests.support.hooks import HERE, Hooks, receiving_hooks
from tests.support.samples import first
from tests.support.server import Server
from tests.support.wait import wait_until

ADDRESS = "http://tower.example.com:8000"
"""Where people reach the server; nobody looks it up."""
LINK = re.compile(rf"{re.escape(ADDRESS)}/a/[0-9A-Za-z_-]+")
A_SECOND = {"minutes": 1 / 60}


@pytest.fixture
def mails() -> Iterator[Mailbag]:
    """A mail server in a thread of its own."""
    bag, loop, ready = Mailbag(), asyncio.new_event_loop(), threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        async with mail_server(bag):
            ready.set()
            await over.wait()
        # Who has sent mail is gone by now, and each conversation ends with that.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(30)
    yield bag
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with receiving_hooks() as opened:
        yield opened


@pytest.fixture
def telling(mails: Mailbag, fresh_server: FreshServer) -> Server:
    """A server that people know by ADDRESS, with a mail server, which outlives it: it may be sending at the end."""
    smtp_url = f"smtp://127.0.0.1:{mails.port}?from=alerts@example.com"
    return fresh_server(TOWERLOG_EGRESS_ALLOW=HERE, TOWERLOG_SMTP_URL=smtp_url, TOWERLOG_PUBLIC_URL=ADDRESS)


def rule(client: httpx2.Client, *channels: Json, **given: Any) -> Json:
    body = {"name": "nobody answers", "trigger": "waiting_too_long", "config": A_SECOND, "channels": channels}
    made: Json = ok(client.post("/api/v1/alert-rules", json=body | given), 201)
    return made


def webhook(hooks: Hooks, kind: str = "webhook") -> Json:
    return {"type": kind, "target": hooks.url(f"/{kind}")}


def told(hooks: Hooks, kind: str = "webhook") -> str:
    """The body of the first message that has come there."""
    wait_until(lambda: any(one.path == f"/{kind}" for one in hooks.taken), f"a message for {kind}")
    return next(one for one in hooks.taken if one.path == f"/{kind}").body.decode()


def visit(server: Server, url: str, **form: str) -> httpx2.Response:
    """Opens a link as a browser does that has found the server by its address; with a form, sends that."""
    parts = urlsplit(url)
    browser, host = server.client(None), {"Host": parts.netloc}
    return browser.post(parts.path, data=form, headers=host) if form else browser.get(parts.path, headers=host)


def test_a_mail_brings_the_agent_its_answer(telling: Server, mails: Mailbag, tmp_path: Path) -> None:
    client = telling.client()
    made = rule(client, {"type": "email", "target": "Ada <ada@example.com>"})
    asker = Asker(telling, tmp_path)
    wait_until(lambda: mails.messages, "the mail")
    [link] = LINK.findall(mails.messages[0].get_content())
    page = visit(telling, link)
    assert (page.status_code, "How much?" in page.text) == (200, True)
    assert "Thank you" in visit(telling, link, content="50").text
    assert asker.end() == "50"
    again = visit(telling, link, content="60")
    assert (again.status_code, "This link was used before" in again.text) == (409, True)
    assert "Ada &lt;ada@example.com&gt; answered this on" in visit(telling, link).text
    linked, answered = audit(client)[-2:]
    assert (linked["action"], linked["actor"]["type"], linked["actor"]["rule_id"]) == (
        "approval.link", "rule", made["rule_id"],
    )  # fmt: skip
    actor = answered["actor"]
    assert (answered["action"], actor["type"], actor["sent_to"]) == ("run.input", "link", "Ada <ada@example.com>")
    assert (actor["link_id"], actor["rule_id"]) == (linked["after"]["link_id"], made["rule_id"])
    assert (actor["rule_name"], actor["user_name"], actor["key_id"]) == ("nobody answers", "admin", None)
    assert (answered["before"]["status"], "questions" in answered["before"]) == ("waiting_for_input", True)
    assert answered["after"]["status"] == "running"
    for known in (actor["link_id"], made["rule_id"], "Ada <ada@example.com>"):
        assert answered in audit(client, actor=known)


@pytest.mark.parametrize("kind", first(["webhook", "slack", "discord", "teams"]))
def test_a_message_of_any_kind_lets_tool_calls_be_decided_about(
    telling: Server, hooks: Hooks, unique: Any, kind: str
) -> None:
    client = telling.client()
    rule(client, webhook(hooks, kind))
    one = asked_by_checkpoints(client, unique)
    body = told(hooks, kind)
    [link] = set(LINK.findall(body))
    if kind == "webhook":
        said = hooks.taken[0].json()
        assert (said["approval_id"], said["answer_url"]) == (one["approval_id"], link)
        assert said["run_url"] == f"{link.partition('/a/')[0]}/runs/{one['run_id']}"
        assert said["answer_expires_at"] > said["timestamp"]
    assert visit(telling, link, decision="approve").status_code == 200
    latest = ok(client.get(f"/v1/runners/threads/{one['thread_id']}/latest"))
    assert latest["status"] == "approved"
    closed = ok(client.get(f"/api/v1/approvals/{one['approval_id']}"))
    assert closed["answered_by"] == f"{kind} of alert rule 'nobody answers'"


def test_what_is_shown_of_a_message_answers_nothing(telling: Server, hooks: Hooks, unique: Any) -> None:
    client = telling.client()
    rule(client, webhook(hooks))
    one = asked_by_checkpoints(client, unique)
    [link] = LINK.findall(told(hooks))
    reader = telling.client(telling.make_key("read"))
    shown = reader.get("/api/v1/deliveries").text + reader.get("/api/v1/alerts").text
    assert one["approval_id"] in shown
    assert urlsplit(link).path.removeprefix("/a/") not in shown
    assert "/a/" not in shown


def test_every_channel_has_a_link_of_its_own_and_the_first_answer_counts(
    telling: Server, hooks: Hooks, mails: Mailbag, tmp_path: Path
) -> None:
    client = telling.client()
    rule(client, webhook(hooks), {"type": "email", "target": "ada@example.com"})
    asker = Asker(telling, tmp_path)
    [ours] = LINK.findall(told(hooks))
    wait_until(lambda: mails.messages, "the mail")
    [theirs] = LINK.findall(mails.messages[0].get_content())
    assert ours != theirs
    assert visit(telling, theirs, content="7").status_code == 200
    late = visit(telling, ours, content="8")
    assert (late.status_code, "ada@example.com" in late.text) == (409, True)
    assert asker.end() == "7"


@pytest.mark.parametrize("ends", ["rule", "channel"])
def test_a_link_is_worth_nothing_without_its_rule_and_its_channel(
    telling: Server, hooks: Hooks, unique: Any, ends: str
) -> None:
    client = telling.client()
    path = f"/api/v1/alert-rules/{rule(client, webhook(hooks))['rule_id']}"
    asked_by_checkpoints(client, unique)
    [link] = LINK.findall(told(hooks))
    assert visit(telling, link).status_code == 200
    ok(client.delete(path) if ends == "rule" else client.patch(path, json={"channels": [{"type": "in_app"}]}))
    for form in ({}, {"decision": "approve"}):
        assert visit(telling, link, **form).status_code == 404


def test_a_reminder_has_a_link_to_what_is_asked_by_then(telling: Server, hooks: Hooks, tmp_path: Path) -> None:
    client = telling.client()
    rule(client, webhook(hooks), renotify_minutes=1 / 60)
    asker = Asker(telling, tmp_path)
    wait_until(lambda: [one for one in hooks.taken if one.json()["type"] == "alert.repeated"], "a reminder")
    reminder = next(one.json() for one in hooks.taken if one.json()["type"] == "alert.repeated")
    assert reminder["answer_url"] != hooks.taken[0].json()["answer_url"]
    assert visit(telling, reminder["answer_url"], content="9").status_code == 200
    assert asker.end() == "9"
    [ended] = wait_until(
        lambda: [said for one in hooks.taken if (said := one.json())["type"] == "alert.recovered"], "the end of it"
    )
    assert ended["answer_url"] is None


def test_without_an_address_a_message_names_the_approval_alone(
    fresh_server: FreshServer, hooks: Hooks, tmp_path: Path
) -> None:
    server = fresh_server(TOWERLOG_EGRESS_ALLOW=HERE)
    client = server.client()
    rule(client, webhook(hooks))
    asker = Asker(server, tmp_path)
    assert "/a/" not in told(hooks)
    said = hooks.taken[0].json()
    assert said["run_url"] is None
    assert (said["answer_url"], said["approval_id"]) == (None, of_agent(client, asker.agent)["approval_id"])
    assert [entry["action"] for entry in audit(client)].count("approval.link") == 0
    ok(client.post(f"/api/v1/approvals/{said['approval_id']}", json={"content": "1"}))
    assert asker.end() == "1"
