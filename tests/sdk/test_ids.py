"""Ids: they are UUIDs of version 7, they sort by their time, no two are the same."""

import time
import uuid

from towerlog.sdk.ids import uuid7


def test_an_id_is_a_uuid_of_version_7_with_its_time_in_front() -> None:
    before_ms = time.time_ns() // 1_000_000
    made = uuid.UUID(uuid7())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before_ms <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_no_two_are_the_same() -> None:
    assert len({uuid7() for _ in range(10_000)}) == 10_000
