"""People who sign in: by a link once, by a password afterwards; what a session may do, and how it ends."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import create_run, ok, rest_of, snapshot, started, step
from tests.acceptance.test_keys_and_orgs import SCOPES, allowed
from tests.support.browser import SIGN_IN, browser, signed_in, token_of
from tests.support.pusher import PusherClient
from tests.support.senders import save_batch
from tests.support.server import ADMIN_KEY, Server, run_inside
from tests.support.sse import EventStream
from tests.support.wait import wait_until
from towerlog.model.times import parse_ms

Json = dict[str, Any]
SESSION, SESSIONS, LINK = "/api/v1/session", "/api/v1/sessions", re.compile(r"http\S+/sign-in#token=(\S+)")
REVOKED_DEADLINE_S = 30
PASSWORD, OTHER = "a long sentence of my own", "another sentence of mine"


def refused(reply: httpx2.Response) -> tuple[int, Json]:
    """A refusal without what differs between any two."""
    return reply.status_code, {name: value for name, value in reply.json().items() if name != "trace_id"}


def newest_entry(client: httpx2.Client, action: str) -> Json:
    """The last entry of the audit about this."""
    found: Json = ok(client.get("/api/v1/audit", params={"action": action, "limit": 1}))["data"][0]
    return found


# Links


def test_the_first_start_prints_a_link_that_signs_in_once(fresh_server) -> None:
    server = fresh_server()
    # Its output is no terminal, and its key its operator's: `tests/cli/test_serve.py` has the others.
    assert not LINK.search(server.says("towerlog open --print"))
    opened = run_inside("open", "--print", env={"TOWERLOG_DATA_DIR": str(server.data_dir)})
    [token] = LINK.findall(opened.stdout)
    first = browser(server)
    assert first.post(SIGN_IN, json={"token": token}).status_code == 204
    who = ok(first.get(SESSION))
    assert (who["name"], who["role"], who["org_name"]) == ("admin", "admin", "default")
    again, unknown = (browser(server).post(SIGN_IN, json={"token": text}) for text in (token, "no-such-token"))
    assert refused(again) == refused(unknown)
    assert again.status_code == 401
    server.restart()
    assert ok(first.get(SESSION)) == who, "a session outlives the server's process"
    assert not LINK.search(server.log)


def test_a_link_that_has_expired_signs_nobody_in(server, client) -> None:
    assert client.post("/api/v1/sign-in-links", json={"expires_in_seconds": 59}).status_code == 422
    assert client.post("/api/v1/sign-in-links", json={"expires_in_seconds": 604_801}).status_code == 422
    link = ok(client.post("/api/v1/sign-in-links", json={"expires_in_seconds": 604_800}), 201)
    assert link["url"] == f"{server.base_url}/sign-in#token={link['token']}"
    assert link["user_id"] == ok(client.get("/api/v1/whoami"))["user_id"]


def test_whose_a_link_is_can_be_asked_before_it_is_used(server, client, unique) -> None:
    name, page, asked = unique("ada"), browser(server), "/api/v1/sign-in/link"
    user_id = ok(signed_in(server, client, "viewer", name).get(SESSION))["user_id"]
    token = token_of(client, user_id)
    assert ok(page.post(asked, json={"token": token})) == {"name": name, "org_name": "default"}
    assert page.post(asked, json={"token": token}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert page.get(SESSION).status_code == 401
    assert is_good(server, token)
    assert [page.post(asked, json={"token": text}).status_code for text in (token, "nothing")] == [401, 401]


def test_the_command_prints_a_link(server) -> None:
    done = server.cli_inside("open", "--print")
    assert done.returncode == 0, done.stderr
    [token] = LINK.findall(done.stdout)
    mine = browser(server)
    assert mine.post(SIGN_IN, json={"token": token}).status_code == 204
    assert ok(mine.get(SESSION))["name"] == "admin"
    entry = newest_entry(server.client(), "member.link")
    assert entry["actor"]["type"] == "operator"
    assert token not in json.dumps(entry)
    assert server.cli_inside("open", "--print", "--user", "nobody").returncode != 0


def test_the_command_opens_the_page_of_a_run(server, client, unique) -> None:
    run_id = create_run(client, unique("opened"))["run_id"]
    for given in (run_id, run_id[:30]):
        done = server.cli_inside("open", "--print", given)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{server.base_url}/sign-in?next=%2Fruns%2F{run_id}#token=")
    assert server.cli_inside("open", "--print", "ffffffff-ffff").returncode != 0


def is_good(server: Server, token: str) -> bool:
    """Whether a link's token signs somebody in."""
    code = browser(server).post(SIGN_IN, json={"token": token}).status_code
    assert code in (204, 401)
    return code == 204


@pytest.mark.parametrize("act", ["remove", "demote"])
def test_a_link_ends_with_the_member_who_has_made_it(server, client, act: str) -> None:
    ann, bob = (signed_in(server, client) for _ in range(2))
    mine, own = (token_of(one, ok(ann.get(SESSION))["user_id"]) for one in (bob, client))
    path = f"/api/v1/members/{ok(bob.get(SESSION))['user_id']}"
    ok(client.delete(path) if act == "remove" else client.patch(path, json={"role": "operator"}))
    assert not is_good(server, mine)
    assert is_good(server, own), "the link of another maker stays"


def test_a_link_ends_with_the_key_that_has_made_it(server, client) -> None:
    user_id = ok(signed_in(server, client).get(SESSION))["user_id"]
    for revoke in ("api", "command"):
        key = ok(client.post("/api/v1/keys", json={"name": "k", "scopes": ["admin"]}), 201)
        link = ok(server.client(key["key"]).post("/api/v1/sign-in-links", json={"user_id": user_id}), 201)
        assert link["made_by"] == key["key_id"]
        if revoke == "api":
            ok(client.delete(f"/api/v1/keys/{key['key_id']}"))
        else:
            assert server.cli_inside("keys", "revoke", key["key_id"]).returncode == 0
        assert not is_good(server, link["token"])
        assert link["link_id"] not in links_of(client)


@pytest.mark.parametrize("act", ["remove", "sign-out", "password"])
def test_a_link_ends_with_all_that_lets_its_member_in(server, client, act: str) -> None:
    ann = signed_in(server, client, "viewer")
    path = f"/api/v1/members/{ok(ann.get(SESSION))['user_id']}"
    token = token_of(client, path.rpartition("/")[2])
    other = token_of(client)
    if act == "password":
        ann.patch(SESSION, json={"password": PASSWORD}).raise_for_status()
    else:
        ok(client.delete(path) if act == "remove" else client.post(f"{path}:sign-out"))
    assert not is_good(server, token)
    assert is_good(server, other), "another member's"


def links_of(admin: httpx2.Client) -> list[str]:
    """The ids of the links that are listed."""
    return [one["link_id"] for one in ok(admin.get("/api/v1/sign-in-links", params={"limit": 200}))["data"]]


def test_a_link_is_listed_until_it_is_used_or_taken_back(server, unique) -> None:
    admin, other = (server.client(server.make_org(unique("org"))[1]) for _ in range(2))
    first, second, third = (ok(admin.post("/api/v1/sign-in-links", json={}), 201) for _ in range(3))
    listed = ok(admin.get("/api/v1/sign-in-links"))["data"]
    assert listed == [one | {"token": None, "url": None} for one in (third, second, first)]
    assert links_of(other) == []
    assert is_good(server, first["token"])
    path = f"/api/v1/sign-in-links/{second['link_id']}"
    assert other.delete(path).status_code == 404
    assert ok(admin.delete(path)) == second | {"token": None, "url": None}
    assert admin.delete(path).status_code == 404
    assert not is_good(server, second["token"])
    assert newest_entry(admin, "member.link_end")["after"] == {"link_id": second["link_id"]}
    assert links_of(admin) == [third["link_id"]]
    page = ok(admin.get("/api/v1/sign-in-links", params={"limit": 1}))
    assert page["next"] is None


# The cookie


def test_a_session_is_kept_where_no_script_reads_it(server, client) -> None:
    reply = browser(server).post(SIGN_IN, json={"token": token_of(client)})
    [cookie] = reply.headers.get_list("set-cookie")
    assert re.fullmatch(
        rf"towerlog-{server.port}=[0-9A-Za-z]{{40}}; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax", cookie
    )
    assert reply.headers["cache-control"] == "no-store"


def test_two_servers_on_one_host_sign_nobody_out(server, client, fresh_server) -> None:
    other = fresh_server()
    mine = signed_in(server, client)
    second = signed_in(other, other.client())
    both = "; ".join(f"{name}={text}" for page in (mine, second) for name, text in page.cookies.items())
    for one in (server, other):
        assert one.client(None).get(SESSION, headers={"Cookie": both}).status_code == 200
    out = other.client(None).post(
        "/api/v1/sign-out", headers={"Cookie": both, "Origin": other.base_url, "X-Towerlog-Request": "1"}
    )
    assert [cookie.partition("=")[0] for cookie in out.headers.get_list("set-cookie")] == [f"towerlog-{other.port}"]
    assert server.client(None).get(SESSION, headers={"Cookie": both}).status_code == 200


def test_a_session_by_tls_is_for_this_host_alone(fresh_server) -> None:
    server = fresh_server(TOWERLOG_PUBLIC_URL="https://towerlog.example.com")
    page = browser(server)
    page.headers["Origin"] = "https://towerlog.example.com"
    reply = page.post(SIGN_IN, json={"token": token_of(server.client())})
    [cookie] = reply.headers.get_list("set-cookie")
    assert cookie.startswith(f"__Host-towerlog-{server.port}=")
    assert cookie.endswith("; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax; Secure")
    text = cookie.partition(";")[0]
    bare = server.client(None)
    assert bare.get(SESSION, headers={"Cookie": text}).status_code == 200
    assert bare.get(SESSION, headers={"Cookie": text.removeprefix("__Host-")}).status_code == 401


def test_a_session_is_no_key_and_a_key_is_no_session(server, client) -> None:
    mine = signed_in(server, client)
    text = mine.cookies[f"towerlog-{server.port}"]
    bare = server.client(None)
    for sent in (text, f"towerlog-{server.port}={text}"):
        assert bare.get("/v1/runs", headers={"Authorization": f"Bearer {sent}"}).status_code == 401
        assert bare.get("/v1/runs", headers={"X-API-Key": sent}).status_code == 401
    assert bare.get("/v1/runs", headers={"Cookie": f"towerlog-{server.port}={ADMIN_KEY}"}).status_code == 401
    assert bare.get("/v1/runs", headers={"Cookie": f"a=b; towerlog-{server.port}={text}; c"}).status_code == 200
    for method, path in (("GET", SESSION), ("PATCH", SESSION), ("POST", "/api/v1/sign-out")):
        assert client.request(method, path, json={"password": PASSWORD}).status_code == 404, "a key is nobody's session"
    assert ok(mine.get(SESSION, headers={"Authorization": "Basic cHJveHk6cGFzcw=="}))["role"] == "admin"
    assert mine.get(SESSION, headers={"Authorization": "Bearer wrong"}).status_code == 401, "a key counts before it"


@pytest.mark.parametrize(
    "path",
    ["/api/v1/runs", "/api/v1/keys", "/api/v1/members", "/api/v1/audit", "/api/v1/approvals", "/v1/runs", "/alerts",
     "/approvals", SESSION, "/api/v1/runs/nothing", "/api/v1/live", "/api/v1/runs?no=such"],
)  # fmt: skip
def test_no_cache_keeps_an_answer_to_a_session(server, client, path: str) -> None:
    mine = signed_in(server, client)
    with mine.stream("GET", path) as reply:
        wanted = "no-cache, no-transform" if path == "/api/v1/live" else "no-store"
        assert reply.headers.get_list("cache-control") == [wanted]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "cookie" in reply.headers["vary"]


# Other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"X-Towerlog-Request": "0"},
        {"X-Towerlog-Request": ""},
    ],
)
def test_no_page_of_another_site_acts_in_a_persons_name(server, client, unique, headers) -> None:
    mine, thread = signed_in(server, client), unique("thread")
    before = len(ok(mine.get("/api/v1/runs", params={"thread_id": thread}))["data"])
    for method, path, body in (
        ("POST", f"/v1/threads/{thread}/runs", {}),
        ("POST", "/api/v1/keys", {"name": "stolen", "scopes": ["admin"]}),
        ("PATCH", SESSION, {"password": PASSWORD}),
        ("DELETE", f"/api/v1/keys/{ok(client.get('/api/v1/whoami'))['key_id']}", None),
        ("POST", "/api/v1/sign-out", None),
        ("POST", SIGN_IN, {"token": token_of(client)}),
    ):
        reply = mine.request(method, path, json=body, headers=headers)
        assert reply.status_code == 403, (method, path, reply.text)
        if path.startswith("/api/"):
            assert reply.json()["code"] == "auth.csrf"
    assert ok(mine.get(SESSION, headers=headers))["role"] == "admin", "reading changes nothing"
    assert len(ok(mine.get("/api/v1/runs", params={"thread_id": thread}))["data"]) == before
    assert ok(mine.post(f"/v1/threads/{thread}/runs", json={}), 201)


# Roles


@pytest.mark.parametrize(
    ("role", "scopes"),
    [("viewer", {"read"}), ("operator", {"read", "control"}), ("admin", {"admin", "control", "read"})],
)
def test_a_role_is_its_scopes(server, client, unique, role: str, scopes: set[str]) -> None:
    mine = signed_in(server, client, role)
    run_id = create_run(client, unique("thread"))["run_id"]
    assert allowed(mine, run_id) == (scopes if role != "admin" else {*SCOPES}), "an admin may everything"
    assert ok(mine.get(SESSION))["scopes"] == sorted(scopes)
    assert set(ok(mine.get("/api/v1/whoami"))["scopes"]) == scopes


def test_another_role_counts_at_once_and_the_last_admin_stays(server, unique) -> None:
    admin = server.client(server.make_org(unique("org"))[1])
    mine = signed_in(server, admin, "viewer", "ada")
    [ada, first] = ok(admin.get("/api/v1/members"))["data"]
    assert (ada["name"], first["name"]) == ("ada", "admin")
    path = f"/api/v1/members/{first['user_id']}"
    for reply in (admin.delete(path), admin.patch(path, json={"role": "operator"})):
        assert reply.status_code == 409
    ok(admin.patch(f"/api/v1/members/{ada['user_id']}", json={"role": "admin"}))
    wait_until(lambda: mine.get("/api/v1/keys").status_code == 200, "the new role")
    ok(mine.patch(path, json={"role": "viewer"}))
    assert mine.delete(path).status_code == 200
    assert [one["name"] for one in ok(mine.get("/api/v1/members"))["data"]] == ["ada"]


def test_names_and_addresses_are_one_members(server, unique) -> None:
    admin = server.client(server.make_org(unique("org"))[1])
    body = {"name": "Ada", "role": "viewer", "email": "ada@example.com"}
    made = ok(admin.post("/api/v1/members", json=body), 201)
    assert ok(admin.post("/api/v1/members", json=body)) == made
    for other in ({"name": "ADA"}, {"name": "x", "email": "ADA@example.com"}, {"name": "ada@example.com"}):
        assert admin.post("/api/v1/members", json={"role": "viewer", **other}).status_code == 409
    for wrong in ({"name": " "}, {"name": "x" * 201}, {"name": "x", "email": "no address"}, {"name": "a\x07b"}):
        assert admin.post("/api/v1/members", json={"role": "viewer", **wrong}).status_code == 422
    assert admin.post("/api/v1/members", json={"name": "x", "role": "god"}).status_code == 422
    path = f"/api/v1/members/{made['user_id']}"
    assert ok(admin.patch(path, json={"email": None}))["email"] is None
    assert ok(admin.delete(path))["removed_at"]
    assert admin.delete(path).status_code == 404
    assert ok(admin.post("/api/v1/members", json=body), 201)["user_id"] != made["user_id"]


def test_of_those_who_come_at_once_one_gets_the_name_and_one_admin_stays(server, unique) -> None:
    admin = server.client(server.make_org(unique("org"))[1])
    bodies = [{"name": name, "role": "admin"} for name in ("Ada", "ADA", "ada", "aDa", "adA", "AdA")]
    with ThreadPoolExecutor(len(bodies)) as threads:
        codes = list(threads.map(lambda body: admin.post("/api/v1/members", json=body).status_code, bodies))
        assert sorted(codes) == [201, *[409] * 5]
        paths = [f"/api/v1/members/{one['user_id']}" for one in ok(admin.get("/api/v1/members"))["data"]]
        codes = list(threads.map(lambda path: admin.delete(path).status_code, paths))
    assert sorted(codes) == [200, 409]
    assert len(ok(admin.get("/api/v1/members"))["data"]) == 1


# Passwords


def test_a_member_sets_a_password_and_signs_in_by_it(server, client, unique) -> None:
    name = unique("Ada")
    mine, elsewhere = signed_in(server, client, "viewer", name, email=f"{name}@example.com"), browser(server)
    user_id = ok(mine.get(SESSION))["user_id"]
    assert elsewhere.post(SIGN_IN, json={"token": token_of(client, user_id)}).status_code == 204
    assert mine.patch(SESSION, json={"password": "too short"}).status_code == 422
    assert mine.patch(SESSION, json={"password": PASSWORD}).status_code == 204
    wait_until(lambda: elsewhere.get(SESSION).status_code == 401, "the end of the other session")
    assert ok(mine.get(SESSION))["has_password"] is True
    for user in (name, name.upper(), f"{name}@Example.com"):
        again = browser(server)
        assert again.post(SIGN_IN, json={"user": user, "password": PASSWORD}).status_code == 204
        assert ok(again.get(SESSION))["user_id"] == user_id
    wrong = mine.patch(SESSION, json={"password": OTHER, "current_password": "not it"})
    assert (wrong.status_code, "current_password" in wrong.text) == (422, True)
    assert mine.patch(SESSION, json={"password": OTHER, "current_password": PASSWORD}).status_code == 204
    assert browser(server).post(SIGN_IN, json={"user": name, "password": PASSWORD}).status_code == 401
    assert PASSWORD not in json.dumps(ok(client.get("/api/v1/audit"))["data"])


def test_who_is_a_member_is_not_told(server, client, unique) -> None:
    name, bare = unique("ada"), unique("bob")
    signed_in(server, client, "viewer", name).patch(SESSION, json={"password": PASSWORD}).raise_for_status()
    signed_in(server, client, "viewer", bare)
    tries = [
        {"user": name, "password": "a wrong password"},
        {"user": unique("nobody"), "password": PASSWORD},
        {"user": bare, "password": PASSWORD},
        {"user": name, "password": PASSWORD, "organisation": unique("org")},
        {"token": "nothing"},
    ]
    answers = [refused(browser(server).post(SIGN_IN, json=body)) for body in tries]
    assert answers == [answers[0]] * len(tries)
    assert answers[0][0] == 401


@pytest.mark.parametrize("user", ["ada", "nobody"])
def test_guessing_is_slow_whether_the_member_is_there_or_not(fresh_server, user: str) -> None:
    server = fresh_server()
    admin = server.client()
    signed_in(server, admin, "viewer", "ada").patch(SESSION, json={"password": PASSWORD}).raise_for_status()
    page = browser(server)
    codes = [page.post(SIGN_IN, json={"user": user, "password": f"guess {n}"}).status_code for n in range(11)]
    assert codes == [401] * 10 + [429]
    late = page.post(SIGN_IN, json={"user": user, "password": PASSWORD})
    assert (late.status_code, int(late.headers["retry-after"]) > 0) == (429, True)
    assert page.post(SIGN_IN, json={"token": token_of(admin)}).status_code == 204, "a link is not guessed"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b'{"user":"a"}', b'{"token":1}', b'{"tokn":"a"}', b'{"token":"' + b"x" * 5000 + b'"}']
)
def test_a_body_that_says_nothing_is_refused(server, body: bytes) -> None:
    reply = browser(server).post(SIGN_IN, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code in (400, 413, 422), reply.text


# The end


def live(server: Server, mine: httpx2.Client) -> EventStream:
    """A stream that goes by the session's cookie."""
    stream = EventStream(
        server.base_url + "/api/v1/live", {"Cookie": "; ".join(f"{name}={text}" for name, text in mine.cookies.items())}
    )
    assert stream.status == 200
    return stream


def test_a_screen_goes_by_the_session_and_ends_with_it(server, client) -> None:
    mine = signed_in(server, client, "viewer")
    with live(server, mine) as stream:
        assert stream.next_event().event == "snapshot"
        text = mine.cookies[f"towerlog-{server.port}"]
        reply = mine.post("/api/v1/sign-out")
        assert reply.status_code == 204
        assert reply.headers.get_list("set-cookie") == [
            f"towerlog-{server.port}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        ]
        rest_of(stream)
    assert server.client(None).get(SESSION, headers={"Cookie": f"towerlog-{server.port}={text}"}).status_code == 401


def test_a_member_sees_its_own_sessions_and_ends_one(server, client) -> None:
    mine = signed_in(server, client, "viewer")
    user_id = ok(mine.get(SESSION))["user_id"]
    second = browser(server)
    second.post(SIGN_IN, json={"token": token_of(client, user_id)})
    newest, oldest = ok(mine.get(SESSIONS))["data"]
    assert (newest["is_current"], oldest["is_current"]) == (False, True)
    assert newest["address"] == "127.0.0.1"
    assert ok(second.get(SESSIONS))["data"][0]["is_current"]
    assert ok(mine.get(SESSIONS, params={"limit": 1}))["next"] is not None
    other = signed_in(server, client, "operator")
    [theirs] = ok(other.get(SESSIONS))["data"]
    assert other.delete(f"{SESSIONS}/{newest['session_id']}").status_code == 404, "another member's is not there"
    assert mine.get(SESSIONS, params={"user_id": theirs["user_id"]}).status_code == 403
    with live(server, second) as stream:
        assert stream.next_event().event == "snapshot"
        assert ok(mine.delete(f"{SESSIONS}/{newest['session_id']}"))["session_id"] == newest["session_id"]
        rest_of(stream)
    wait_until(lambda: second.get(SESSION).status_code == 401, "the end of the session")
    assert [one["session_id"] for one in ok(mine.get(SESSIONS))["data"]] == [oldest["session_id"]]
    assert mine.delete(f"{SESSIONS}/{newest['session_id']}").status_code == 404, "it is over"
    assert newest_entry(client, "member.sign_out")["after"]["session_id"] == newest["session_id"]


def test_an_admin_sees_and_ends_the_sessions_of_all(server, client) -> None:
    mine, other = signed_in(server, client, "viewer"), signed_in(server, client, "operator")
    [theirs], [others] = (ok(one.get(SESSIONS))["data"] for one in (mine, other))
    listed = {one["session_id"] for one in ok(client.get(SESSIONS, params={"limit": 200}))["data"]}
    assert {theirs["session_id"], others["session_id"]} <= listed
    assert ok(client.get(SESSIONS, params={"user_id": theirs["user_id"]}))["data"] == [theirs | {"is_current": False}]
    ok(client.delete(f"{SESSIONS}/{theirs['session_id']}"))
    wait_until(lambda: mine.get(SESSION).status_code == 401, "the end of the session")
    assert other.get(SESSION).status_code == 200
    plain = server.client(server.make_key("read", "control"))
    assert plain.get(SESSIONS).status_code == 403, "a key that may not administer sees nobody's"
    assert plain.delete(f"{SESSIONS}/{others['session_id']}").status_code == 403


def test_sessions_of_nobody_are_no_empty_list_and_those_of_who_was_a_member_are(server, client) -> None:
    unknown = "0196b2c0-0000-7000-8000-00000000dead"
    for wrong in (unknown, "ada"):
        reply = client.get(SESSIONS, params={"user_id": wrong})
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), wrong
    made = client.post("/api/v1/members", json={"name": "never signed in", "role": "viewer"}).json()["user_id"]
    for _ in ("a member", "one that was"):
        assert client.get(SESSIONS, params={"user_id": made}).json()["data"] == []
        client.delete(f"/api/v1/members/{made}")


def test_a_session_that_is_not_used_ends(fresh_server) -> None:
    server = fresh_server(TOWERLOG_SESSION_IDLE_MINUTES="7")
    mine = signed_in(server, server.client(), "viewer")
    [session] = ok(mine.get(SESSIONS))["data"]
    began, ends = (parse_ms(session[name]) for name in ("last_used_at", "expires_at"))
    assert (ends - began, session["created_at"]) == (7 * 60_000, session["last_used_at"])


@pytest.mark.parametrize("act", ["remove", "sign-out"])
def test_an_admin_ends_all_sessions_of_a_member(server, client, act: str) -> None:
    mine = signed_in(server, client, "operator")
    path = f"/api/v1/members/{ok(mine.get(SESSION))['user_id']}"
    with live(server, mine) as stream:
        assert stream.next_event().event == "snapshot"
        reply = client.delete(path) if act == "remove" else client.post(f"{path}:sign-out")
        assert reply.status_code == 200
        rest_of(stream)
    wait_until(lambda: mine.get(SESSION).status_code == 401, "the end of the session")
    token = client.post("/api/v1/sign-in-links", json={"user_id": path.rpartition("/")[2]})
    assert token.status_code == (404 if act == "remove" else 201)


@pytest.mark.parametrize("act", ["remove", "sign-out"])
def test_live_push_ends_with_the_member(server, client, act: str) -> None:
    mine = signed_in(server, client, "viewer")
    user_id = ok(mine.get(SESSION))["user_id"]
    with PusherClient(server.base_url).connect() as socket:
        assert socket.subscribe(mine, f"private-user.{user_id}")["event"].endswith("subscription_succeeded")
        path = f"/api/v1/members/{user_id}"
        ok(client.delete(path) if act == "remove" else client.post(f"{path}:sign-out"))
        socket.socket.settimeout(REVOKED_DEADLINE_S)
        assert socket.end()[0] == 4009


def test_tickets_and_channels_are_the_sessions_too(server, client) -> None:
    mine, other = (signed_in(server, client, "viewer") for _ in range(2))
    ticket = ok(mine.post("/api/v1/stream-tickets"), 201)["ticket"]
    with EventStream(f"{server.base_url}/api/v1/live?ticket={ticket}", {}) as stream:
        assert stream.next_event().event == "snapshot"
        assert other.post("/api/v1/sign-out").status_code == 204
        assert mine.post("/api/v1/sign-out").status_code == 204
        rest_of(stream)
    again = signed_in(server, client, "viewer")
    channel = f"private-user.{ok(again.get(SESSION))['user_id']}"
    form = {"socket_id": "1.2", "channel_name": channel}
    assert again.post("/broadcasting/auth", data=form).status_code in (200, 403)
    assert again.post("/broadcasting/auth", data=form, headers={"Origin": "https://evil.example"}).status_code == 403


# What it leaves


def test_each_act_of_a_member_has_its_entry(server, unique) -> None:
    admin = server.client(server.make_org(unique("org"))[1])
    mine = signed_in(server, admin, "admin", "ada")
    ok(mine.post("/v1/threads", json={"thread_id": "t"}), 201)
    mine.patch(SESSION, json={"password": PASSWORD}).raise_for_status()
    mine.post("/api/v1/sign-out").raise_for_status()
    entries = ok(admin.get("/api/v1/audit"))["data"]
    told = [(entry["action"], entry["actor"]["type"], entry["actor"]["user_name"]) for entry in entries]
    assert told[:4] == [
        ("member.sign_out", "member", "ada"),
        ("member.password", "member", "ada"),
        ("thread.create", "member", "ada"),
        ("member.sign_in", "member", "ada"),
    ]
    assert [entry["address"] for entry in entries[:4]] == ["127.0.0.1"] * 4
    assert entries[3]["after"]["by"] == "link"
    assert all(entry["actor"]["key_id"] is None for entry in entries[:4])


def test_what_a_member_has_made_is_the_members_in_each_of_its_sessions(server, client, unique) -> None:
    mine = signed_in(server, client, "operator")
    user_id, elsewhere = ok(mine.get(SESSION))["user_id"], browser(server)
    assert elsewhere.post(SIGN_IN, json={"token": token_of(client, user_id)}).status_code == 204
    run_id = create_run(mine, unique("thread"))["run_id"]
    assert ok(elsewhere.get(f"/v1/runs/{run_id}"))["created_by_user_id"] == user_id
    key = {"Idempotency-Key": unique("key")}
    first, again = (one.post("/v1/threads", json={"title": "t"}, headers=key) for one in (mine, elsewhere))
    assert first.json() == again.json()


def test_a_members_answer_link_ends_with_the_member(server, client, unique) -> None:
    mine, trace = signed_in(server, client, "operator"), unique("trace")
    save_batch(client, started(trace, trace), snapshot(trace, trace, 1, [], status="waiting_for_approval"))
    step(client, unique("sdk"), "run_start")
    [one] = [
        one for one in ok(mine.get("/api/v1/approvals", params={"limit": 200}))["data"] if one["thread_id"] == trace
    ]
    link = ok(mine.post(f"/api/v1/approvals/{one['approval_id']}/links", json={"sent_to": "bob"}), 201)
    path, user_id = link["path"], ok(mine.get(SESSION))["user_id"]
    mine.post("/api/v1/sign-out").raise_for_status()
    assert server.client(None).get(path).status_code == 200, "it is the member's, and not the session's"
    ok(client.delete(f"/api/v1/members/{user_id}"))
    assert server.client(None).get(path).status_code == 404
