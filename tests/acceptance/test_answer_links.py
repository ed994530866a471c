"""Answer links: whoever opens one changes nothing, whoever sends its form answers once, and nobody else gets in."""

from __future__ import annotations

import re
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import FreshServer, Scoped, Unique
from tests.acceptance.test_approvals import INBOX, answer, asked_by_checkpoints, asked_by_steps, open_of
from tests.acceptance.test_stream_tickets import ticket_of
from tests.support.senders import Json
from tests.support.server import Server
from tests.support.wait import wait_until
from towerlog.model.times import format_ms

# A link is a right, whatever it answers.
pytestmark = pytest.mark.every_value


CLICKS = 64


def link_to(client: httpx2.Client, one: Json, **body: Any) -> Json:
    reply = client.post(f"{INBOX}/{one['approval_id']}/links", json={"sent_to": "grace@example.com", **body})
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


@pytest.fixture(params=[asked_by_steps, asked_by_checkpoints], ids=["question", "tool calls"])
def one(request: pytest.FixtureRequest, client: httpx2.Client, unique: Unique) -> Json:
    return dict(request.param(client, unique))


FORMS = {"question": {"content": "yes"}, "approval": {"decision": "approve"}}


def test_opening_a_link_changes_nothing_however_often(
    client: httpx2.Client, anonymous: httpx2.Client, one: Json
) -> None:
    path = link_to(client, one)["path"]
    for method in ("GET", "HEAD", "GET"):
        assert anonymous.request(method, path).status_code == 200
    assert [found["approval_id"] for found in open_of(client, one["run_id"])] == [one["approval_id"]]
    assert anonymous.post(path, data=FORMS[one["kind"]]).status_code == 200


def test_the_page_brings_nothing_from_elsewhere_and_runs_nothing(
    client: httpx2.Client, anonymous: httpx2.Client, unique: Unique
) -> None:
    nasty = "<script>alert(1)</script>\"'&"
    one = asked_by_steps(client, unique, context={nasty: nasty}, question=nasty)
    page = anonymous.get(link_to(client, one, sent_to=nasty)["path"])
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text
    assert "src=" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text


def test_the_form_answers_once_in_the_name_of_whom_it_was_sent_to(
    client: httpx2.Client, anonymous: httpx2.Client, one: Json
) -> None:
    made = link_to(client, one)
    first = anonymous.post(made["path"], data=FORMS[one["kind"]])
    assert first.status_code == 200, first.text
    second = anonymous.post(made["path"], data=FORMS[one["kind"]])
    assert (second.status_code, "used before" in second.text) == (409, True)
    closed = client.get(f"{INBOX}/{one['approval_id']}").json()
    assert closed["answered_by"] == "grace@example.com"
    refused = answer(client, one, decision="deny")
    assert (refused.status_code, "grace@example.com" in refused.json()["detail"]) == (409, True)
    page = anonymous.get(made["path"])
    verb = "answered" if one["kind"] == "question" else "approved"
    assert re.search(rf"grace@example\.com {verb} this on \d+ [A-Z][a-z]+ \d{{4}} at \d\d:\d\d UTC\.", page.text)
    assert (page.status_code, "<form" in page.text) == (200, False)
    [entry] = [
        found
        for found in client.get("/api/v1/audit", params={"object": one["run_id"]}).json()["data"]
        if found["action"] in ("run.input", "run.approve")
    ]
    assert entry["address"] == "127.0.0.1"


@pytest.mark.parametrize("asks", [asked_by_steps, asked_by_checkpoints])
@pytest.mark.parametrize("risk", ["low", "high", "critical"])
def test_a_high_risk_has_to_be_confirmed(
    client: httpx2.Client, anonymous: httpx2.Client, unique: Unique, asks: Any, risk: str
) -> None:
    one = asks(client, unique, risk=risk)
    path = link_to(client, one)["path"]
    is_risky = risk != "low"
    assert ('name="sure"' in anonymous.get(path).text) is is_risky
    reply = anonymous.post(path, data=FORMS[one["kind"]])
    assert reply.status_code == (422 if is_risky else 200), reply.text
    assert ("Tick the box first: the risk is high." in reply.text) is is_risky
    assert bool(open_of(client, one["run_id"])) is is_risky
    if is_risky:
        assert anonymous.post(path, data={**FORMS[one["kind"]], "sure": risk}).status_code == 200
        assert open_of(client, one["run_id"]) == []


def test_who_denies_confirms_nothing(client: httpx2.Client, anonymous: httpx2.Client, unique: Unique) -> None:
    one = asked_by_checkpoints(client, unique, risk="critical")
    reply = anonymous.post(link_to(client, one)["path"], data={"decision": "deny"})
    assert reply.status_code == 200, reply.text


def test_of_many_clicks_one_counts(server: Server, client: httpx2.Client, one: Json) -> None:
    path = link_to(client, one)["path"]
    barrier, codes = threading.Barrier(CLICKS), []

    def click() -> None:
        own = server.client(None)
        barrier.wait(60)
        codes.append(own.post(path, data=FORMS[one["kind"]]).status_code)

    threads = [threading.Thread(target=click, daemon=True) for _ in range(CLICKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert (codes.count(200), codes.count(409)) == (1, CLICKS - 1), codes


def test_of_two_links_the_first_answer_counts(client: httpx2.Client, anonymous: httpx2.Client, one: Json) -> None:
    ours, theirs = link_to(client, one), link_to(client, one, sent_to="ada")
    assert ours["path"] != theirs["path"]
    assert anonymous.post(ours["path"], data=FORMS[one["kind"]]).status_code == 200
    late = anonymous.post(theirs["path"], data=FORMS[one["kind"]])
    assert (late.status_code, "grace@example.com" in late.text) == (409, True)


def test_an_answer_that_is_refused_leaves_the_link_good(
    client: httpx2.Client, anonymous: httpx2.Client, unique: Unique
) -> None:
    one = asked_by_steps(client, unique, schema={"enum": ["send", "wait"]})
    path = link_to(client, one)["path"]
    for content in ("drop", "", " "):
        refused = anonymous.post(path, data={"content": content})
        assert (refused.status_code, "<form" in refused.text) == (422, True)
    assert anonymous.post(path, data={"content": "send"}).status_code == 200


def test_fields_of_a_schema_are_an_answer_and_stay_when_it_is_refused(
    client: httpx2.Client, anonymous: httpx2.Client, unique: Unique
) -> None:
    properties = {"amount": {"type": "integer", "maximum": 50}, "why": {"type": "string"}, "fast": {"type": "boolean"}}
    schema = {"type": "object", "properties": properties, "required": ["amount"]}
    one = asked_by_steps(client, unique, schema=schema)
    path = link_to(client, one)["path"]
    typed = {"field.0": "70", "field.1": "a long reason", "field.2": "true"}
    refused = anonymous.post(path, data=typed)
    assert (refused.status_code, "This does not fit: 70 is greater than" in refused.text) == (422, True), refused.text
    assert 'value="a long reason"' in refused.text
    none = anonymous.post(path, data={**typed, "field.0": ""})
    assert (none.status_code, "amount is missing." in none.text) == (422, True)
    taken = anonymous.post(path, data={**typed, "field.0": "50"})
    assert (taken.status_code, "The agent has your answer." in taken.text) == (200, True)
    told = client.get(f"/api/v1/runs/{one['run_id']}/events").json()["data"]
    assert [event for event in told if '"amount":50' in str(event["data"]).replace(" ", "")], told


def test_a_link_that_has_expired_answers_nothing(client: httpx2.Client, anonymous: httpx2.Client, one: Json) -> None:
    path = link_to(client, one, expires_in_seconds=1)["path"]
    wait_until(lambda: anonymous.get(path).status_code == 410, "the end of the link")
    late = anonymous.post(path, data=FORMS[one["kind"]])
    assert (late.status_code, "expired" in late.text) == (410, True)
    assert open_of(client, one["run_id"])


def test_an_expired_link_shows_nothing_of_what_was_asked(
    client: httpx2.Client, anonymous: httpx2.Client, one: Json
) -> None:
    path = link_to(client, one, expires_in_seconds=1)["path"]
    wait_until(lambda: anonymous.get(path).status_code == 410, "the end of the link")
    forms: list[Json] = [
        {},
        {"content": ""},
        {"content": " "},
        {"decision": "perhaps"},
        {"content": "x", "decision": "deny"},
    ]
    for form in forms:
        late = anonymous.post(path, data=form, headers={"content-type": "application/x-www-form-urlencoded"})
        assert (late.status_code, "<form" in late.text) == (410, False), form


def test_a_link_to_what_is_closed_shows_no_form_whatever_is_sent(
    client: httpx2.Client, anonymous: httpx2.Client, one: Json
) -> None:
    path = link_to(client, one)["path"]
    assert anonymous.post(path, data=FORMS[one["kind"]]).status_code == 200
    late = anonymous.post(path, data={"content": ""})
    assert (late.status_code, "<form" in late.text) == (409, False)


def test_a_link_that_has_expired_stays_expired_after_each_start(fresh_server: FreshServer, unique: Unique) -> None:
    own = fresh_server()
    one = asked_by_steps(own.client(), unique)
    path = link_to(own.client(), one, expires_in_seconds=1)["path"]
    wait_until(lambda: own.client(None).get(path).status_code == 410, "the end of the link")
    unseen = link_to(own.client(), one, expires_in_seconds=1)
    for end in (own.kill, own.stop):
        end()
        # It ends while the server is down, at the latest: that gives it no more time either.
        wait_until(lambda: format_ms(time.time_ns() // 1_000_000) > unseen["expires_at"], "the end of the other link")
        own.start()
        for old in (path, unseen["path"]):
            assert own.client(None).get(old).status_code == 410
            assert own.client(None).post(old, data={"content": "yes"}).status_code == 410
        assert open_of(own.client(), one["run_id"])


def changed(path: str) -> list[str]:
    """The path with one bit of its token changed at each of several places, and other things that are no token."""
    token = path.removeprefix("/a/")
    sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    found = ["/a/x", "/a/" + "A" * 400, "/a/" + "A" * 4000, path + "A", path + "%3D", path[:-3], "/a/%F0%9F%98%80"]
    for place in range(0, len(sealed), 7):
        other = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        found.append("/a/" + urlsafe_b64encode(other).decode().rstrip("="))
    return found


def test_a_token_that_was_changed_is_no_link(client: httpx2.Client, anonymous: httpx2.Client, one: Json) -> None:
    for path in changed(link_to(client, one)["path"]):
        assert anonymous.get(path).status_code == 404, path
        assert anonymous.post(path, data=FORMS[one["kind"]]).status_code == 404, path
    assert open_of(client, one["run_id"])


def test_another_servers_link_is_no_link(
    client: httpx2.Client, anonymous: httpx2.Client, fresh_server: FreshServer, unique: Unique
) -> None:
    other = fresh_server()
    path = link_to(other.client(), asked_by_steps(other.client(), unique))["path"]
    assert anonymous.get(path).status_code == 404


def test_a_link_outlives_a_restart(fresh_server: FreshServer, unique: Unique) -> None:
    own = fresh_server()
    one = asked_by_steps(own.client(), unique)
    path = link_to(own.client(), one)["path"]
    own.stop()
    own.start()
    assert own.client(None).post(path, data={"content": "yes"}).status_code == 200


def test_a_link_is_worth_what_the_key_of_its_maker_is(
    server: Server, client: httpx2.Client, anonymous: httpx2.Client, scoped: Scoped, one: Json
) -> None:
    assert scoped("read").post(f"{INBOX}/{one['approval_id']}/links", json={"sent_to": "x"}).status_code == 403
    made = client.post("/api/v1/keys", json={"name": "links", "scopes": ["control"]}).json()
    path = link_to(server.client(made["key"]), one)["path"]
    assert anonymous.get(path).status_code == 200
    client.delete(f"/api/v1/keys/{made['key_id']}").raise_for_status()
    assert anonymous.get(path).status_code == 404
    assert anonymous.post(path, data=FORMS[one["kind"]]).status_code == 404


def test_another_organisation_makes_no_link_to_it(other_org: httpx2.Client, one: Json) -> None:
    assert other_org.post(f"{INBOX}/{one['approval_id']}/links", json={"sent_to": "x"}).status_code == 404


def test_a_link_needs_something_open(client: httpx2.Client, one: Json) -> None:
    assert answer(client, one, decision="approve").status_code == 200
    assert client.post(f"{INBOX}/{one['approval_id']}/links", json={"sent_to": "x"}).status_code == 409


@pytest.mark.parametrize("body", [{}, {"sent_to": " "}, {"sent_to": "a\nb"}, {"sent_to": "a", "expires_in_seconds": 0}])
def test_a_link_says_for_whom_and_how_long(client: httpx2.Client, unique: Unique, body: Json) -> None:
    one = asked_by_steps(client, unique)
    assert client.post(f"{INBOX}/{one['approval_id']}/links", json=body).status_code == 422


def test_a_repeated_request_gets_the_same_link(client: httpx2.Client, unique: Unique) -> None:
    one = asked_by_steps(client, unique)
    headers, path = {"Idempotency-Key": unique("key")}, f"{INBOX}/{one['approval_id']}/links"
    first, again = (client.post(path, json={"sent_to": "x"}, headers=headers).json() for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"decision": "perhaps"}, 422),
        ({f"f{number}": "x" for number in range(40)}, 400),
        ({"content": ["yes", "no"]}, 400),
        ({"content": "no", "decision": "approve"}, 422),
        ({"content": "x" * 200_000}, 413),
    ],
)
def test_a_form_that_is_none_is_refused_in_words(
    client: httpx2.Client, anonymous: httpx2.Client, unique: Unique, data: Json, status: int
) -> None:
    path = link_to(client, asked_by_steps(client, unique))["path"]
    reply = anonymous.post(path, data=data)
    assert (reply.status_code, reply.headers["content-type"]) == (status, "text/html; charset=utf-8")
    of_type = anonymous.post(path, json={"content": "yes"})
    assert of_type.status_code == 415
    for refused in (reply, of_type):
        assert "This link cannot be used" not in refused.text, "it can"
    assert ("Your answer was not taken" in reply.text) == (status != 422), "a 422 is the form once more"
    assert "Your answer was not taken" in of_type.text
    assert "This link cannot be used" in anonymous.get(path + "x").text


def test_the_log_of_requests_has_no_token(fresh_server: FreshServer, unique: Unique) -> None:
    own = fresh_server(TOWERLOG_ACCESS_LOG="true")
    path = link_to(own.client(), asked_by_steps(own.client(), unique))["path"]
    assert own.client(None).get(path).status_code == 200
    token, ticket = path.removeprefix("/a/"), ticket_of(own.client())
    encoded = "".join(f"%25{ord(char):x}" for char in token[:40])
    others = [f"/{path}", f"/A/{token}", f"/x/a/{token}", f"/x/{token}/y", f"/x/{encoded}"]
    others += [f"/api/v1/live;ticket={ticket}", f"/api/v1/live%3fticket={ticket}"]
    for other in others:
        assert own.client(None).get(f"{own.base_url}{other}").status_code in (400, 401, 404, 405), other
    assert own.client(None).get(path).status_code == 200, "it is still good"
    own.stop()
    assert f'"/a/{token[:8]}' not in own.log, "nothing of it, where a link has its place"
    for secret in (token, token[-40:], ticket, encoded.replace("%25", "%")):
        assert secret not in own.log
    for shown in ('"/a/', '"//a/', '"/A/', '"/x/a/', "/live;ticket=", "/live?ticket="):
        assert shown in own.log
