"""The calls about members against a real server: made, listed, changed, signed out, removed, and let in by a link."""

from __future__ import annotations

from pathlib import Path

import towerlog
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server


def test_a_member_from_its_making_to_its_removal(tmp_path: Path) -> None:
    with Server(tmp_path / "data", NO_LIMITS) as server, towerlog.Client(server.base_url, ADMIN_KEY) as client:
        ada = client.create_member("ada", "viewer", email="ada@example.com")
        assert (ada.name, ada.role, ada.email, ada.has_password) == ("ada", "viewer", "ada@example.com", False)
        assert [one.name for one in client.list_members()] == ["ada", "admin"]
        assert client.change_member(ada.user_id, role="operator").role == "operator"
        link = client.create_sign_in_link(ada.user_id, expires_in_seconds=60)
        assert link.token is not None
        assert link.url == f"{server.base_url}/sign-in#token={link.token}"
        assert link.token not in repr(link)
        own = client.create_sign_in_link()
        assert own.user_id != ada.user_id
        assert client.sign_out_member(ada.user_id).user_id == ada.user_id
        assert client.remove_member(ada.user_id).removed_at is not None
        assert [one.name for one in client.list_members()] == ["admin"]
