"""Ids: they are UUIDs of version 7, they sort by their time, no two are the same."""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from towerlog.sdk.wire.ids import TAILS_AT_ONCE, Source, uuid7

FORKS = """
import json, os
from towerlog.sdk.wire.ids import uuid7

def some():
    return [uuid7() for _ in range(100)]

some()
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, json.dumps(some()).encode())
    os._exit(0)
mine = some()
os.wait()
print(json.dumps([mine, json.loads(os.read(reading, 65536))]))
"""


def test_an_id_is_a_uuid_of_version_7_with_its_time_in_front() -> None:
    before_ms = time.time_ns() // 1_000_000
    made = uuid.UUID(uuid7())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before_ms <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_an_id_has_the_time_that_it_is_made_for_also_where_the_clock_goes_back() -> None:
    source = Source()
    first = 1_700_000_000_000 & ~0xFFFF
    times = [first, first + 1, first + 0xFFFF, first + 0x10000, first, 0, 2**48 - 1]
    assert [uuid.UUID(source.uuid7_at(one)).int >> 80 for one in times] == times


def test_no_two_are_the_same() -> None:
    assert len({uuid7() for _ in range(10_000)}) == 10_000


def test_the_bits_that_are_not_fixed_are_random_in_every_place() -> None:
    ids = [uuid.UUID(uuid7()).int for _ in range(40 * TAILS_AT_ONCE)]
    random_bits = {*range(62), *range(64, 76)}
    seen_set = {bit for bit in random_bits if any(one >> bit & 1 for one in ids)}
    seen_clear = {bit for bit in random_bits if any(not one >> bit & 1 for one in ids)}
    assert seen_set == seen_clear == random_bits


def test_threads_get_different_ones() -> None:
    begun = threading.Barrier(8)
    source = Source()

    def some(_: int) -> list[str]:
        begun.wait(60)
        return [source.uuid7() for _ in range(2_000)]

    with ThreadPoolExecutor(8) as pool:
        made = [one for some_ids in pool.map(some, range(8)) for one in some_ids]
    assert len(set(made)) == 16_000


def test_the_child_of_a_fork_has_none_of_its_parents() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=30, check=True, env=dict(os.environ)
    )
    mine, childs = json.loads(done.stdout)
    # All but the time: two ids of one millisecond would differ in nothing else.
    assert len(mine) == len(childs) == 100
    assert not {one[14:] for one in mine} & {one[14:] for one in childs}


def test_the_system_is_asked_once_for_many(monkeypatch) -> None:
    asked: list[int] = []
    urandom = os.urandom
    monkeypatch.setattr(os, "urandom", lambda size: asked.append(size) or urandom(size))
    source = Source()
    for _ in range(TAILS_AT_ONCE):
        source.uuid7()
    assert len(asked) == 1
