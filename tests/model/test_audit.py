"""Entries of the audit: bounded, without secrets, and chained so that none can be changed or moved."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from towerlog.model.audit import (
    ACTIONS,
    HIDDEN,
    MAX_STATE_BYTES,
    MAX_STATE_CHARS,
    SERVER,
    Action,
    AuditEntry,
    chain_link,
    make_entry,
)
from towerlog.model.key import RANDOM_LENGTH, make_key


def entry(after: dict[str, Any] | None, before: dict[str, Any] | None = None) -> AuditEntry:
    return make_entry(1, 1000, SERVER, Action.KEY_CREATE, ("key", "k"), before, after)


def state(after: dict[str, Any]) -> Any:
    return msgspec.json.decode(entry(after).after)


def test_what_is_not_there_is_null_and_what_is_unknown_is_left_out() -> None:
    made = entry({"name": "ours", "revoked_at": None})
    assert bytes(made.before) == b"null"
    assert msgspec.json.decode(made.after) == {"name": "ours"}


@pytest.mark.parametrize("member", ["secret", "Password", "token", "api_key", "digest"])
def test_a_member_that_is_named_like_a_secret_is_hidden_at_any_depth(member: str) -> None:
    told = state({member: "hunter2", "channels": [{"type": "webhook", member: {"deep": "hunter2"}}]})
    assert "hunter2" not in str(told)
    assert told[member] == HIDDEN
    assert told["channels"][0] == {"type": "webhook", member: HIDDEN}


@pytest.mark.parametrize("kind", ["live", "ro", "lane", "adm"])
def test_the_text_of_a_key_of_ours_loses_its_secret_wherever_it_stands(kind: str) -> None:
    text = make_key("Ab3" * (RANDOM_LENGTH // 3) + "z" * (RANDOM_LENGTH % 3), kind)
    told = state({"reason": f"use {text}, please", "list": [text]})
    secret = text.rsplit("_", 1)[1]
    assert secret not in str(told)
    assert told["reason"] == f"use {text.rsplit('_', 1)[0]}_{HIDDEN}, please"


def test_a_url_loses_its_user_and_password() -> None:
    told = state({"base_url": "https://ada:pass@example.com/v1?at=me@home"})
    assert told == {"base_url": f"https://{HIDDEN}@example.com/v1?at=me@home"}


def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    told = state({"reason": "x" * (MAX_STATE_CHARS + 1), "other": "y" * MAX_STATE_CHARS})
    assert told["reason"] == f"{'x' * MAX_STATE_CHARS}… ({MAX_STATE_CHARS + 1} characters)"
    assert told["other"] == "y" * MAX_STATE_CHARS


def test_a_state_past_its_bound_is_replaced_by_its_length_and_digest() -> None:
    long = {f"tool{number}": "t" * 100 for number in range(MAX_STATE_BYTES // 100)}
    told = state(long)
    assert set(told) == {"left_out_bytes", "sha256"}
    assert told["left_out_bytes"] == len(msgspec.json.encode(long))
    assert len(entry(long, long).before) < MAX_STATE_BYTES
    assert told != state(long | {"one": "more"})


def test_a_link_covers_the_one_before_the_organisation_the_number_and_the_text() -> None:
    link = chain_link(b"before", 1, 2, b"{}")
    others = [
        chain_link(b"befor", 1, 2, b"e{}"),
        chain_link(b"other", 1, 2, b"{}"),
        chain_link(b"before", 2, 2, b"{}"),
        chain_link(b"before", 1, 3, b"{}"),
        chain_link(b"before", 1, 2, b"{ }"),
    ]
    assert len({link, *others}) == 6
    assert link == chain_link(b"before", 1, 2, b"{}")
    assert len(link) == 32


def test_every_action_is_said_and_named_for_a_noun_and_a_verb() -> None:
    assert set(ACTIONS) == set(Action)
    assert all(len(action.split(".")) == 2 for action in Action)
