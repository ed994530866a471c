"""Keys and organisations from the command line, on stores that are there and on ones that are not yet."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.cli.commands import answered, towerlog
from tests.support.fakes import FakeClock, SeededIds
from towerlog.model.key import digest_of, is_intact
from towerlog.store.sqlite.store import open_store
from towerlog.store.values import KeyFound

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, str]:
    """The options that name a folder of this test's own, which does not exist yet."""
    return ("--data-dir", str(tmp_path / "data"))


def test_the_first_use_tells_the_admin_key_once_beside_the_answer(data) -> None:
    done = towerlog("keys", "create", "--name", "n", "--scopes", "read", "--json", *data)
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert is_intact(made["key"])
    [admin] = [word for word in done.stderr.split() if is_intact(word)]
    assert admin != made["key"]
    assert admin.startswith("tl_adm_")
    again = towerlog("keys", "list", *data)
    assert (again.exit_code, again.stderr) == (0, "")


def test_the_first_use_takes_the_bootstrap_key_and_does_not_repeat_it(data) -> None:
    key = "k" * 40
    done = towerlog("orgs", "create", "acme", *data, TOWERLOG_BOOTSTRAP_KEY=key)
    assert done.exit_code == 0
    assert "TOWERLOG_BOOTSTRAP_KEY" in done.stderr
    assert key not in done.output


def test_a_key_that_was_made_is_stored_as_its_hash(data, tmp_path) -> None:
    made = answered("keys", "create", "--name", "mine", "--scopes", "read, ingest", *data)
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
def test_a_key_says_what_kind_it_is(data, scopes, kind) -> None:
    made = answered("keys", "create", "--name", "n", "--scopes", scopes, *data)
    assert made["key"].startswith(f"tl_{kind}_")


def test_the_words_for_people_hold_the_key_on_a_line_of_its_own(data) -> None:
    towerlog("orgs", "create", "acme", *data)
    printed = towerlog("keys", "create", "--name", "n", "--scopes", "read", *data).stdout
    assert [line.strip() for line in printed.splitlines() if is_intact(line.strip())]
    assert "shown only once" in printed


def test_an_organisation_is_found_by_name_and_by_id(data) -> None:
    made = answered("orgs", "create", "acme", *data)
    for name in ("acme", made["org_id"]):
        key = answered("keys", "create", "--name", name, "--scopes", "read", "--org", name, *data)
        assert key["org_id"] == made["org_id"]
    listed = answered("keys", "list", "--org", "acme", *data)["data"]
    assert [key["name"] for key in listed] == [made["org_id"], "acme", "admin"]
    assert [org["name"] for org in answered("orgs", "list", *data)["data"]] == ["default", "acme"]
    assert [key["name"] for key in answered("keys", "list", *data)["data"]] == ["admin"]


def test_a_revocation_is_listed_and_repeated_without_harm(data) -> None:
    key_id = answered("orgs", "create", "acme", *data)["key_id"]
    first = answered("keys", "revoke", key_id, *data)
    assert first["revoked_at"] is not None
    assert answered("keys", "revoke", key_id, *data) == first
    assert answered("keys", "list", "--org", "acme", *data)["data"] == [first]
    assert "revoked" in towerlog("keys", "revoke", key_id, *data).stdout


def test_a_list_in_a_pipe_cuts_no_id(data) -> None:
    key_id = answered("keys", "create", "--name", "n" * 150, "--scopes", "read", *data)["key_id"]
    printed = towerlog("keys", "list", *data).stdout
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
        (["keys", "revoke", NOBODY], 1, "no such key"),
        (["orgs", "create", "default"], 1, "'default' already"),
        (["orgs", "create", ""], 2, "1 to 200"),
    ],
)
def test_what_cannot_be_is_refused_in_words(data, arguments, code, words) -> None:
    towerlog("orgs", "create", "acme", *data)
    done = towerlog(*arguments, *data)
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [["keys", "list"], ["orgs", "list"], ["keys", "revoke", NOBODY]])
def test_who_only_looks_makes_no_store(data, tmp_path, arguments) -> None:
    done = towerlog(*arguments, *data)
    assert (done.exit_code, done.stdout) == (69, "")
    assert "there is no store here" in done.stderr
    assert not (tmp_path / "data").exists()
