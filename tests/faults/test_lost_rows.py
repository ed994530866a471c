"""A page with what people have set is lost: a rebuild settles it, a backup can be made, who was shut out gets in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.cli.commands import answered, towerlog
from tests.faults.rotten import copy_of, ruin_pages_of
from tests.support.server import NO_LIMITS, Server

ORG = "acme labs"


@pytest.fixture(scope="module")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a server with a member, a key, a price and a second organisation."""
    with Server(tmp_path_factory.mktemp("peopled") / "data", NO_LIMITS) as server:
        client = server.client()
        for path, body in (
            ("/api/v1/members", {"name": "bob", "role": "viewer"}),
            ("/api/v1/keys", {"name": "ci", "scopes": ["read"]}),
            ("/api/v1/prices", {"model": "house", "usd_per_million": {"input": 3, "output": 15}}),
            ("/api/v1/budgets", {"name": "all", "scope": {"organisation": True}, "amount_usd": 5, "period": "day"}),
        ):
            made = client.post(path, json=body)
            assert made.status_code == 201, made.text
        server.cli_json("orgs", "create", ORG)
        server.stop()
        return server.data_dir / "towerlog.db"


@pytest.fixture
def store(peopled: Path, tmp_path: Path) -> Path:
    """A copy, which the test may damage."""
    return copy_of(peopled, tmp_path / "data")


@pytest.fixture
def server(store: Path) -> Iterator[Server]:
    made = Server(store.parent, NO_LIMITS)
    yield made
    made.close()


def differences(store: Path) -> list[str]:
    done = towerlog("verify", "--data-dir", store.parent, "--json")
    shown: list[str] = json.loads(done.stdout)["shown"]
    return shown


def backed_up(store: Path) -> bool:
    return bool(answered("backup", "--data-dir", store.parent, store.with_name("copy.db"))["ok"])


def entries(store: Path) -> list[tuple[str, str, str]]:
    with closing(apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        docs: list[Any] = [json.loads(doc) for (doc,) in db.execute("SELECT doc FROM audit_entry ORDER BY key")]
    return [(one["actor"]["type"], one["action"], one["object_type"]) for one in docs]


def test_keys_whose_page_is_lost_are_gone_and_it_is_told_how_to_get_in_again(store: Path, server: Server) -> None:
    ruin_pages_of(store, "api_key")
    rebuilt = towerlog("rebuild", "--data-dir", store.parent)
    assert rebuilt.exit_code == 0, rebuilt.output
    lines = rebuilt.stderr.splitlines()
    assert sum(": key " in one and one.startswith("gone: ") for one in lines) == 3
    shut = [one for one in lines if "no key is left" in one]
    assert [one.rpartition("`towerlog ")[2] for one in shut] == [
        "keys create --org default --name admin --scopes admin`",
        f"keys create --org '{ORG}' --name admin --scopes admin`",
    ]
    assert differences(store) == []
    assert backed_up(store)
    assert entries(store).count(("server", "row.lose", "key")) == 3
    server.start()
    assert server.client().get("/api/v1/keys").status_code == 401
    for org in ("default", ORG):
        made = answered(
            "keys", "create", "--data-dir", store.parent, "--org", org, "--name", "admin", "--scopes", "admin"
        )
        assert server.client(made["key"]).get("/api/v1/keys").status_code == 200


def test_members_whose_page_is_lost_are_there_again(store: Path, server: Server) -> None:
    ruin_pages_of(store, "user")
    assert differences(store) != []
    made = answered("rebuild", "--data-dir", store.parent)
    assert (len(made["made_anew"]), made["gone"], made["no_keys"], made["not_mended"]) == (3, [], [], [])
    assert any(" (bob): " in one and "`towerlog open --org default --user " in one for one in made["made_anew"])
    assert differences(store) == []
    assert backed_up(store)
    server.start()
    client = server.client()
    [bob] = [one for one in client.get("/api/v1/members").json()["data"] if one["name"] == "bob"]
    assert client.post("/api/v1/members", json={"name": "bob", "role": "viewer"}).status_code == 200, "it is there"
    assert client.delete(f"/api/v1/members/{bob['user_id']}").status_code == 200
    assert client.post("/api/v1/members", json={"name": "bob", "role": "viewer"}).status_code == 201


@pytest.mark.parametrize("table", ["price", "budget"])
def test_what_the_audit_holds_all_of_is_there_again(store: Path, table: str) -> None:
    ruin_pages_of(store, table)
    made = answered("rebuild", "--data-dir", store.parent)
    assert (len(made["made_anew"]), made["gone"]) == (1, [])
    assert differences(store) == []
    assert entries(store).count(("server", "row.restore", table)) == 1
    assert answered("rebuild", "--data-dir", store.parent)["made_anew"] == [], "it is settled for good"


def test_organisations_whose_page_is_lost_are_there_again_and_no_start_takes_their_place(
    store: Path, server: Server
) -> None:
    ruin_pages_of(store, "org")
    made = answered("rebuild", "--data-dir", store.parent)
    assert [line.partition(":")[0] for line in made["made_anew"]] == ["default", ORG]
    assert differences(store) == []
    server.start()
    assert server.client().get("/api/v1/keys").status_code == 200
    server.stop()
    with closing(apsw.Connection(str(store))) as db:
        db.execute("DELETE FROM org")
    assert [one.partition(":")[0] for one in differences(store)] == ["organisation number 1", "organisation number 2"]
    refused = towerlog("serve", "--port", "0", "--data-dir", store.parent)
    assert refused.exit_code == 70
    assert "`towerlog rebuild`" in refused.stderr


def test_an_organisation_that_is_lost_is_named_at_the_start_and_so_is_the_name_that_another_has(
    store: Path, server: Server
) -> None:
    server.start()
    for name in ("last", "taken"):
        server.cli_json("orgs", "create", name)
    server.stop()
    with closing(apsw.Connection(str(store))) as db:
        db.execute("DELETE FROM org WHERE name = ?", (ORG,))
    server.start()
    assert "`towerlog rebuild`" in server.says("nobody gets into it")
    assert '"organisation_number": 2' in server.log
    server.cli_json("orgs", "create", ORG)
    server.stop()
    [line] = answered("rebuild", "--data-dir", store.parent)["made_anew"]
    assert f"another organisation has '{ORG}' by now" in line
    assert differences(store) == []


@pytest.mark.parametrize("lost", ["row", "page"])
def test_the_removal_of_an_organisation_that_is_lost_goes_on(store: Path, lost: str) -> None:
    towerlog("orgs", "rm", "--data-dir", store.parent, ORG, "--confirm", ORG)
    if lost == "page":
        ruin_pages_of(store, "removed_org")
        assert differences(store) != []
    else:
        with closing(apsw.Connection(str(store))) as db:
            db.execute("DELETE FROM removed_org")
        assert any("tells of the removal of organisation" in one for one in differences(store))
    made = answered("rebuild", "--data-dir", store.parent)
    [line] = made["made_anew"]
    assert f"the removal of the organisation {ORG} (" in line
    assert (made["gone"], made["no_keys"], made["not_mended"]) == ([], [], [])
    assert [one["name"] for one in answered("orgs", "ls", "--data-dir", store.parent)["data"]] == ["default"]
    assert differences(store) == []
    assert backed_up(store)
    assert entries(store).count(("server", "row.restore", "organisation")) == 1


def test_names_of_members_whose_page_is_lost_are_kept_again(store: Path) -> None:
    ruin_pages_of(store, "user_name")
    assert answered("rebuild", "--data-dir", store.parent)["not_mended"] == []
    assert differences(store) == []
    with closing(apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        assert ("bob", 1) in list(db.execute("SELECT folded, is_member FROM user_name"))
