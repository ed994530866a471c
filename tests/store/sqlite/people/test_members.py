"""Members, sessions and links in SQLite: found by an index."""

from __future__ import annotations

from collections.abc import Callable

import apsw
import pytest

from tests.store.plans import plans_of
from towerlog.store.sqlite.people import members

BY_INDEX: dict[str, tuple[Callable[[apsw.Connection], object], str]] = {
    "page": (lambda db: members.members(db, 1, 5, None), "SEARCH user USING INDEX user_number (org=?)"),
    "link": (lambda db: members.link(db, 1, b"d"), "(digest=? AND org=?)"),
    "token": (lambda db: members.link_by_digest(db, b"d"), "(digest=?)"),
    "session": (lambda db: members._session_by_digest(db, b"d"), "(digest=?)"),
    "sessions": (lambda db: members.sessions(db, 1, None, 5, None, 7), "session_by_number (org=?)"),
    "sessions of one": (lambda db: members.sessions(db, 1, "u", 5, None, 7), "(org=? AND user_id=?)"),
    "session by id": (lambda db: members.session_by_id(db, 1, "s"), "session_by_id (org=? AND session_id=?)"),
    "seen": (lambda db: members.note_seen(db, [b"d"], 1, 2), "(digest=?)"),
    "old": (lambda db: members.drop_old(db, 7, 5), "_expires (expires_at<?)"),
}


@pytest.mark.parametrize("name", BY_INDEX)
def test_a_question_goes_by_an_index(db: apsw.Connection, org: int, name: str) -> None:
    question, index = BY_INDEX[name]
    for sql, steps in plans_of(db, lambda: question(db)).items():
        assert any(index in step for step in steps), (sql, steps)
        assert not any(step.startswith("SCAN") for step in steps), (sql, steps)
