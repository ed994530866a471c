"""The backlog: one order through memory and disk, nothing twice, nothing lost, counts that are exact."""

from __future__ import annotations

import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.sdk.record.backlog.buffer import Backlog
from towerlog.sdk.record.backlog.losses import Losses
from towerlog.sdk.record.values.encoding import encode_event

FAR_NS = 10**15


def opened(folder: Path, overflow: str = "oldest", memory: int = 10_000, spool: int = 100_000) -> Backlog:
    return Backlog("c1", folder, Losses(), memory, spool, overflow)  # type: ignore[arg-type]


def fill(backlog: Backlog, first: int, last: int) -> None:
    for seq in range(first, last + 1):
        backlog.put("r", seq, line(seq))


def line(seq: int) -> bytes:
    return encode_event({"run_key": "r", "client_seq": seq, "type": "step"})


def seqs(lines: list[bytes]) -> list[int]:
    return [int(each.split(b'"client_seq":')[1].split(b",")[0]) for each in lines]


@given(st.lists(st.sampled_from(["put", "spill", "send", "fail", "spill in flight"]), max_size=40))
def test_whatever_happens_in_between_all_is_delivered_once_in_order(tmp_path_factory, steps: list[str]) -> None:
    backlog = opened(tmp_path_factory.mktemp("spool"), memory=10**6, spool=10**6)
    told, delivered = 0, []
    for step in [*steps, *["send"] * 60]:
        if step == "put":
            fill(backlog, told + 1, told + 3)
            told += 3
        elif step == "spill":
            backlog.spill(0)
        elif batch := backlog.take(4, 1000):
            if step == "spill in flight":
                backlog.spill(0)
            if step == "fail":
                backlog.give_back(batch)
            else:
                delivered += seqs(batch.lines)
                backlog.settle(batch)
    assert delivered == list(range(1, told + 1))
    assert (backlog.pending, backlog.in_memory, backlog.spool.waiting) == (0, (0, 0), 0)
    backlog.close()


@pytest.mark.parametrize(("overflow", "stays"), [("oldest", [8, 9, 10]), ("newest", [1, 2, 3])])
def test_when_memory_is_full_the_right_ones_go(tmp_path: Path, overflow: str, stays: list[int]) -> None:
    backlog = opened(tmp_path, overflow, memory=len(line(1)) * 3 + 2)
    fill(backlog, 1, 10)
    batch = backlog.take(99, 10_000)
    assert batch is not None
    assert seqs(batch.lines) == stays
    backlog.settle(batch)
    assert backlog.pending == 0


def test_what_is_young_stays_in_memory(tmp_path: Path) -> None:
    backlog = opened(tmp_path)
    fill(backlog, 1, 3)
    assert backlog.spill(FAR_NS) == 0
    assert not backlog.resting
    assert backlog.spill(0) == 3
    assert (backlog.resting, backlog.spool.waiting) == (True, 3)
    backlog.close()


def test_a_memory_that_is_crowded_is_written_down_however_young(tmp_path: Path) -> None:
    backlog = opened(tmp_path, memory=1000)
    fill(backlog, 1, 15)
    assert backlog.spill(FAR_NS) == 15
    backlog.close()


@pytest.mark.parametrize("overflow", ["oldest", "newest"])
def test_the_counts_are_exact_over_the_cap_of_the_disk(tmp_path: Path, overflow: str) -> None:
    losses = Losses()
    backlog = Backlog("c1", tmp_path, losses, 10_000, 2_000, overflow)  # type: ignore[arg-type]
    source = random.Random(1)
    delivered = 0
    for first in range(1, 400, 5):
        fill(backlog, first, first + 4)
        backlog.spill(0)
        if source.random() < 0.2 and (batch := backlog.take(3, 1000)):
            backlog.settle(batch)
            delivered += len(batch.lines)
        assert backlog.pending == backlog.spool.waiting + backlog.in_memory[0]
    assert delivered + losses.dropped + backlog.pending == 400
    assert losses.dropped > 0
    backlog.close()


@contextmanager
def files_of(size: int) -> Iterator[None]:
    """No file of this process may be longer: a disk on which there is so much room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_of_a_group_that_meets_a_full_disk_what_has_room_is_kept(tmp_path: Path) -> None:
    backlog = opened(tmp_path)
    fill(backlog, 1, 10)
    room = 4 * (len(line(1)) + 1) + 10
    with files_of(room):
        for _ in range(3):
            with pytest.raises(OSError, match="large"):
                backlog.spill(0)
            assert (backlog.spool.waiting, backlog.queued, backlog.pending) == (4, 6, 10)
        [file] = tmp_path.glob("c1/*.ndjson")
        whole = b"".join(line(seq) + b"\n" for seq in range(1, 5))
        assert file.read_bytes() == whole, "no half line"
        fill(backlog, 11, 12)
    assert backlog.spill(0) == 8, "it goes on by itself when there is room"
    batch = backlog.take(99, 10_000)
    assert batch is not None
    assert seqs(batch.lines) == list(range(1, 13))
    backlog.settle(batch)
    assert (backlog.pending, backlog.in_memory) == (0, (0, 0))
    backlog.close()


def test_a_batch_in_flight_is_kept_whole_or_not_at_all_and_nothing_overtakes_it(tmp_path: Path) -> None:
    backlog = opened(tmp_path)
    fill(backlog, 1, 10)
    batch = backlog.take(6, 10_000)
    assert batch is not None
    with files_of(4 * (len(line(1)) + 1)), pytest.raises(OSError, match="large"):
        backlog.spill(0)
    assert (backlog.spool.waiting, backlog.queued, batch.segment) == (0, 10, None)
    assert list(tmp_path.glob("c1/*.ndjson")) == []
    backlog.give_back(batch)
    assert backlog.spill(0) == 10
    backlog.close()


def test_a_full_disk_is_given_no_file_more_at_each_attempt(tmp_path: Path) -> None:
    backlog = opened(tmp_path, spool=800)
    fill(backlog, 1, 5)
    with files_of(10):
        for _ in range(20):
            with pytest.raises(OSError, match="large"):
                backlog.spill(0)
    assert list(tmp_path.glob("c1/*.ndjson")) == []
    assert backlog.spill(0) == 5
    backlog.close()


def test_a_disk_that_takes_nothing_leaves_all_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    backlog = opened(tmp_path / "file")
    fill(backlog, 1, 3)
    with pytest.raises(OSError, match=r"[Nn]ot a directory|exists"):
        backlog.spill(0)
    batch = backlog.take(9, 1000)
    assert batch is not None
    assert seqs(batch.lines) == [1, 2, 3]
