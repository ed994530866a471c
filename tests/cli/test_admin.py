"""Keys and organisations from the command line, on stores that are there and on ones that are not yet."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.cli.commands import answered, towerlog
from tests.support.fakes import FakeClock, SeededIds
from towerlog.model.key import KeyFound, digest_of, is_intact
from towerlog.store.sqlite.store import open_store

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, str]:
    """The options that name a folder of this test's own, which does not exist yet."""
    return ("--data-dir", str(tmp_path / "data"))


@pytest.fixture
def store(data) -> tuple[str, str]:
    """The same, with a store in it."""
    answered("orgs", "create", "first", "--init", *data)
    return data


def test_the_first_use_tells_the_admin_key_once_beside_the_answer(data) -> None:
    done = towerlog("keys", "create", "--name", "n", "--scopes", "read", "--init", "--json", *data)
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert is_intact(made["key"])
    [admin] = [word for word in done.stderr.split() if is_intact(word)]
    assert admin != made["key"]
    assert admin.startswith("tl_adm_")
    again = towerlog("keys", "list", *data)
    assert (again.exit_code, again.stderr) == (0, "")


def test_the_first_use_takes_the_bootstrap_key_and_does_not_repeat_it(data) -> None:
    key = "0123456789abcdefghijklmnopqrstuvwxyzADMN"
    done = towerlog("orgs", "create", "acme", "--init", *data, TOWERLOG_BOOTSTRAP_KEY=key)
    assert done.exit_code == 0
    assert "TOWERLOG_BOOTSTRAP_KEY" in done.stderr
    assert key not in done.output


def test_a_key_that_was_made_is_stored_as_its_hash(store, tmp_path) -> None:
    made = answered("keys", "create", "--name", "mine", "--scopes", "read, ingest", *store)
    assert made["scopes"] == ["ingest", "read"]

    async def stored() -> KeyFound | None:
        store = await open_store(tmp_path / "data" / "towerlog.db", FakeClock(), SeededIds())
        try:
            return await store.key_by_digest(digest_of(made["key"]))
        finally:
            await store.close()

    found = asyncio.run(stored())
    assert found is not None
    assert (found.org_id, found.key.key_id, found.key.name) == (made["org_id"], made["key_id"], "mine")
    assert [str(scope) for scope in found.key.scopes] == made["scopes"]


@pytest.mark.parametrize(
    ("scopes", "kind"), [("read", "ro"), ("worker", "lane"), ("ingest,read", "live"), ("admin", "adm")]
)
def test_a_key_says_what_kind_it_is(store, scopes, kind) -> None:
    made = answered("keys", "create", "--name", "n", "--scopes", scopes, *store)
    assert made["key"].startswith(f"tl_{kind}_")


def test_the_words_for_people_hold_the_key_on_a_line_of_its_own(store) -> None:
    towerlog("orgs", "create", "acme", *store)
    printed = towerlog("keys", "create", "--name", "n", "--scopes", "read", *store).stdout
    assert [line.strip() for line in printed.splitlines() if is_intact(line.strip())]
    assert "shown only once" in printed


def test_an_organisation_is_found_by_name_and_by_id(store) -> None:
    made = answered("orgs", "create", "acme", *store)
    for name in ("acme", made["org_id"]):
        key = answered("keys", "create", "--name", name, "--scopes", "read", "--org", name, *store)
        assert key["org_id"] == made["org_id"]
    listed = answered("keys", "list", "--org", "acme", *store)["data"]
    assert [key["name"] for key in listed] == [made["org_id"], "acme", "admin"]
    assert [org["name"] for org in answered("orgs", "list", *store)["data"]] == ["default", "first", "acme"]
    assert [key["name"] for key in answered("keys", "list", *store)["data"]] == ["admin"]


def test_a_revocation_is_listed_and_repeated_without_harm(store) -> None:
    key_id = answered("orgs", "create", "acme", *store)["key_id"]
    first = answered("keys", "revoke", key_id, *store)
    assert first["revoked_at"] is not None
    assert answered("keys", "revoke", key_id, *store) == first
    assert answered("keys", "list", "--org", "acme", *store)["data"] == [first]
    assert "revoked" in towerlog("keys", "revoke", key_id, *store).stdout


def test_a_key_is_revoked_by_the_beginning_of_its_id(store) -> None:
    made = answered("keys", "create", "--name", "n", "--scopes", "read", *store)
    assert answered("keys", "revoke", made["key_id"][:18], *store)["key_id"] == made["key_id"]
    org_id = made["org_id"]
    assert answered("keys", "ls", "--org", org_id[:18], *store)["data"] == answered("keys", "ls", *store)["data"]


@pytest.mark.parametrize("noun", ["keys", "orgs"])
def test_the_former_names_still_list(store, noun) -> None:
    assert answered(noun, "list", *store) == answered(noun, "ls", *store)
    assert "\n  list " not in towerlog(noun, "--help").stdout


def test_a_list_in_a_pipe_cuts_no_id(store) -> None:
    key_id = answered("keys", "create", "--name", "n" * 150, "--scopes", "read", *store)["key_id"]
    printed = towerlog("keys", "list", *store).stdout
    assert key_id in printed
    assert "n" * 150 in printed


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["keys", "create", "--name", "n", "--scopes", "all"], 2, "'all' is not a scope"),
        (["keys", "create", "--name", "n", "--scopes", "read,"], 2, "'' is not a scope"),
        (["keys", "create", "--name", " ", "--scopes", "read"], 2, "1 to 200"),
        (["keys", "create", "--name", "n" * 201, "--scopes", "read"], 2, "1 to 200"),
        (["keys", "create", "--name", "a\x1b[2J", "--scopes", "read"], 2, "printable"),
        (["keys", "create", "--name", "n", "--scopes", "read", "--org", "nobody"], 1, "'nobody'"),
        (["keys", "list", "--org", "nobody"], 1, "'nobody'"),
        (["keys", "revoke", NOBODY], 1, "no key whose id begins with"),
        (["keys", "revoke", "0"], 1, "more than one key id"),
        (["orgs", "create", "default"], 1, "'default' exists already"),
        (["orgs", "create", ""], 2, "1 to 200"),
    ],
)
def test_what_cannot_be_is_refused_in_words(store, arguments, code, words) -> None:
    towerlog("orgs", "create", "acme", *store)
    done = towerlog(*arguments, *store)
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "ls"],
        ["orgs", "ls"],
        ["keys", "revoke", NOBODY],
        ["keys", "create", "--name", "n", "--scopes", "read"],
        ["orgs", "create", "acme"],
    ],
)
def test_nothing_makes_a_store_unasked(data, tmp_path, arguments) -> None:
    done = towerlog(*arguments, *data)
    assert (done.exit_code, done.stdout) == (69, "")
    assert "no store here" in done.stderr
    assert not (tmp_path / "data").exists()
