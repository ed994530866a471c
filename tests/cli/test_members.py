"""`towerlog members` against a real server: listed, added with a link that signs in, changed, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import SIGN_IN, browser
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("members") / "data", NO_LIMITS) as started:
        yield started
        started.stop()


def test_a_member_is_added_changed_and_removed(server: Server) -> None:
    added = server.cli_inside("members", "add", "ada", "--role", "operator", "--email", "ada@example.com")
    assert added.returncode == 0, added.stderr
    token = added.stdout.rpartition("#token=")[2].strip()
    hers = browser(server)
    assert hers.post(SIGN_IN, json={"token": token}).status_code == 204
    assert hers.get("/api/v1/session").json()["role"] == "operator"
    listed = server.cli_inside("members", "ls")
    assert "ada@example.com" in listed.stdout
    changed = server.cli_inside("members", "set", "ADA", "--role", "viewer")
    assert (changed.returncode, changed.stdout) == (0, "ada is viewer.\n"), changed.stderr
    removed = server.cli_inside("members", "rm", "ada@example.com")
    assert (removed.returncode, removed.stdout) == (0, "ada is no member any more.\n"), removed.stderr
    assert "ada" not in server.cli_inside("members", "ls").stdout


def test_a_session_is_listed_and_ended(server: Server) -> None:
    added = server.cli_inside("members", "add", "eve")
    hers = browser(server)
    hers.post(SIGN_IN, json={"token": added.stdout.rpartition("#token=")[2].strip()})
    listed = server.cli_inside("sessions", "ls", "--member", "EVE", "--json")
    assert listed.returncode == 0, listed.stderr
    [session] = json.loads(listed.stdout)["data"]
    assert (session["address"], session["is_current"]) == ("127.0.0.1", False)
    assert "eve" in server.cli_inside("sessions", "ls").stdout
    ended = server.cli_inside("sessions", "rm", session["session_id"][:30])
    assert (ended.returncode, ended.stdout) == (0, f"Session ended: {session['session_id']}.\n"), ended.stderr
    wait_until(lambda: hers.get("/api/v1/session").status_code == 401, "the end of the session")
    assert server.cli_inside("sessions", "ls", "--member", "eve").stdout == "No sessions.\n"
    gone = server.cli_inside("sessions", "rm", session["session_id"])
    assert (gone.returncode != 0, "towerlog sessions ls" in gone.stderr) == (True, True)


def test_a_link_is_listed_and_taken_back_and_the_audit_says_so(server: Server) -> None:
    token = server.cli_inside("members", "add", "lin").stdout.rpartition("#token=")[2].strip()
    listed = server.cli_inside("links", "ls", "--json")
    assert listed.returncode == 0, listed.stderr
    link = json.loads(listed.stdout)["data"][0]["link_id"]
    assert "lin" in server.cli_inside("links", "ls").stdout
    gone = server.cli_inside("links", "rm", link)
    assert (gone.returncode, gone.stdout) == (0, f"Link taken back: {link}.\n"), gone.stderr
    assert browser(server).post(SIGN_IN, json={"token": token}).status_code != 204
    audit = server.cli_inside("audit")
    assert (audit.returncode, "lin" in audit.stdout) == (0, True), audit.stderr


def test_what_cannot_be_is_said(server: Server) -> None:
    nobody = server.cli_inside("members", "rm", "nobody")
    assert nobody.returncode != 0
    assert "no member 'nobody'" in nobody.stderr
    assert server.cli_inside("members", "set", "admin").returncode == 2
    last = server.cli_inside("members", "rm", "admin")
    assert last.returncode != 0
    assert "last member" in last.stderr


def test_the_key_of_administration_stays_with_its_owner(server: Server) -> None:
    assert server.cli_inside("members", "ls").returncode == 0
    [file] = Path(server.data_dir).glob("admin.key")
    assert file.stat().st_mode & 0o077 == 0
