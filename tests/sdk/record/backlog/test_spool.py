"""The spool: one holder of each folder, older before younger, and never more than its cap."""

from __future__ import annotations

import multiprocessing
import os
import resource
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.wait import DEADLINE_S
from towerlog.sdk.record.backlog.spool import MAX_ADOPTED, Overflow, Spool, grouped


def line(text: str) -> bytes:
    """A line that may be an event."""
    return b'{"n":"%b"}' % text.encode()


class Losses:
    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def __call__(self, client_id: str, lines: Sequence[bytes], oldest: bool) -> None:
        self.lines += lines


@pytest.fixture
def lost() -> Losses:
    return Losses()


def opened(home: Path, client_id: str, lost: Losses, cap: int = 10_000, overflow: Overflow = "oldest") -> Spool:
    return Spool(home, client_id, cap, overflow, lost)


def drained(spool: Spool) -> list[bytes]:
    found: list[bytes] = []
    while chunk := spool.head(3, 1000):
        found += chunk.lines
        spool.settle(chunk.segment, chunk.lines)
    return found


def test_nothing_is_made_before_it_is_needed(tmp_path: Path, lost: Losses) -> None:
    spool = opened(tmp_path / "home", "c1", lost)
    assert (spool.adopt(), spool.head(9, 9), spool.waiting) == (0, None, 0)
    spool.close()
    assert not (tmp_path / "home").exists()


def test_lines_come_back_in_their_order_and_their_files_go(tmp_path: Path, lost: Losses) -> None:
    spool = opened(tmp_path, "c1", lost)
    lines = [line(f"{number:04}" * 18) for number in range(100)]
    for one in lines:
        spool.append([one], None)
    assert len(list(tmp_path.glob("c1/*.ndjson"))) > 1
    assert (drained(spool), spool.waiting, lost.lines) == (lines, 0, [])
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_process_lives_is_left_alone(tmp_path: Path, lost: Losses) -> None:
    living, heir = opened(tmp_path, "c1", lost), opened(tmp_path, "c2", lost)
    living.append([line("a")], None)
    assert heir.adopt() == 0
    living.close()
    assert heir.adopt() == 1
    chunk = heir.head(9, 9)
    assert chunk is not None
    assert (chunk.segment.client_id, chunk.lines) == ("c1", [line("a")])


def test_a_spool_that_others_could_read_is_taken_from_them(
    tmp_path: Path, lost: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    spool = opened(home, "c1", lost)
    spool.append([line("a")], None)
    spool.close()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert f"other users could read the folder {home}" in caplog.text


@pytest.mark.parametrize("kind", ["of-another-user", "link"])
def test_a_spool_of_somebody_else_is_neither_written_nor_sent(
    tmp_path: Path, lost: Losses, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    there = opened(tmp_path / "there", "c1", lost)
    there.append([line("theirs")], None)
    there.close()
    home = tmp_path / "there"
    if kind == "link":
        home = tmp_path / "home"
        home.symlink_to(tmp_path / "there")
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    spool = opened(home, "c2", lost)
    with pytest.raises(PermissionError, match="a spool must be a folder of the user"):
        spool.adopt()
    with pytest.raises(PermissionError):
        spool.append([line("ours")], None)
    assert spool.waiting == 0
    assert list(home.rglob("*.ndjson")) == [home / "c1" / "00000001.ndjson"]


def test_of_two_heirs_one_takes_it(tmp_path: Path, lost: Losses) -> None:
    gone = opened(tmp_path, "c1", lost)
    gone.append([line("a")], None)
    gone.close()
    heirs = [opened(tmp_path, "c2", lost), opened(tmp_path, "c3", lost)]
    assert sorted(heir.adopt() for heir in heirs) == [0, 1]
    assert sorted(drained(heir) for heir in heirs) == [[], [line("a")]]
    assert list(tmp_path.iterdir()) == []


def test_what_others_left_comes_before_our_own_oldest_client_first(tmp_path: Path, lost: Losses) -> None:
    for name in ("c2", "c1"):
        gone = opened(tmp_path, name, lost)
        gone.append([line(name)], None)
        gone.close()
    heir = opened(tmp_path, "c3", lost)
    heir.append([line("own")], None)
    assert heir.adopt() == 2
    assert drained(heir) == [line("c1"), line("c2"), line("own")]


def leave(tmp_path: Path, lost: Losses, count: int) -> list[bytes]:
    """So many processes have ended and left a line each."""
    lines = [line(f"{number:04}") for number in range(count)]
    for number, one in enumerate(lines):
        gone = opened(tmp_path, f"c{number:04}", lost)
        gone.append([one], None)
        gone.close()
    return lines


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def test_few_descriptors_are_held_for_what_many_processes_have_left(tmp_path: Path, lost: Losses) -> None:
    lines = leave(tmp_path, lost, 3 * MAX_ADOPTED)
    before, heir = descriptors(), opened(tmp_path, "d", lost)
    heir.append([line("own")], None)
    assert heir.adopt() == MAX_ADOPTED
    assert heir.adopt() == 0
    most, found = 0, []
    while chunk := heir.head(3, 1000):
        most = max(most, descriptors())
        found += chunk.lines
        heir.settle(chunk.segment, chunk.lines)
        assert heir.waiting or len(found) > len(lines), "whoever waits for all of it would go on too early"
    assert sorted(found[:-1]) == lines
    assert most - before <= 2 * MAX_ADOPTED + 8
    heir.close()
    assert list(tmp_path.iterdir()) == []


def adopt_with_few_descriptors(tmp_path: Path, lines: list[bytes]) -> None:
    """In a process of its own, in which nobody else opens or closes files."""
    heir = opened(tmp_path, "d", Losses())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Room for the folder of folders, and for two that are taken over, with what it takes to look into one.
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 7, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            heir.adopt()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert 0 < heir.waiting < len(lines)
    heir.adopt()
    assert drained(heir) == lines
    heir.close()


def test_where_no_file_can_be_opened_what_was_left_waits(tmp_path: Path, lost: Losses) -> None:
    lines = leave(tmp_path, lost, 8)
    process = multiprocessing.get_context("spawn").Process(target=adopt_with_few_descriptors, args=(tmp_path, lines))
    process.start()
    process.join(DEADLINE_S)
    assert process.exitcode == 0
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_read_keep_none_from_being_taken_over(
    tmp_path: Path, lost: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    lines = leave(tmp_path, lost, MAX_ADOPTED + 3)
    for number in range(MAX_ADOPTED):
        (tmp_path / f"c{number:04}" / "00000001.ndjson").chmod(0o666)
    before, heir = descriptors(), opened(tmp_path, "d", lost)
    assert heir.adopt() == 3
    assert drained(heir) == lines[-3:]
    assert (heir.adopt(), descriptors()) == (0, before)
    assert caplog.text.count("cannot read the spool file") == MAX_ADOPTED, "each is told once"
    heir.close()


@pytest.mark.parametrize("overflow", ["oldest", "newest"])
def test_over_the_cap_the_right_ones_go_and_each_is_named(tmp_path: Path, lost: Losses, overflow: Overflow) -> None:
    spool = opened(tmp_path, "c1", lost, 1000, overflow)
    lines = [line(f"{number:03}" * 8) for number in range(100)]
    for one in lines:
        spool.append([one], None)
        assert spool.size <= 1000
    kept = drained(spool)
    assert sorted(kept + lost.lines) == lines
    assert (lines[0] in kept, lines[-1] in kept) == (overflow == "newest", overflow == "oldest")


def test_what_is_on_its_way_is_not_dropped(tmp_path: Path, lost: Losses) -> None:
    spool = opened(tmp_path, "c1", lost, 1000)
    spool.append([line("first" * 8)], None)
    chunk = spool.head(1, 1000)
    assert chunk is not None
    for _ in range(100):
        spool.append([line("x" * 42)], chunk.segment)
    assert chunk.lines[0] not in lost.lines
    assert lost.lines


def test_a_file_that_has_gone_is_counted_as_lost(tmp_path: Path, lost: Losses) -> None:
    spool = opened(tmp_path, "c1", lost)
    spool.append([line("a"), line("b")], None)
    next(tmp_path.glob("c1/*.ndjson")).unlink()
    assert spool.head(9, 9) is None
    assert len(lost.lines) == 2


def test_only_its_owner_can_look_into_a_folder(tmp_path: Path, lost: Losses) -> None:
    spool = opened(tmp_path, "c1", lost)
    spool.append([line("a")], None)
    assert (tmp_path / "c1").stat().st_mode & 0o777 == 0o700
    spool.close()


def test_groups_keep_the_order_and_are_bounded() -> None:
    lines = [b"x" * 500_000, b"a", b"y" * 1_200_000, b"b"]
    assert list(grouped(lines)) == [[b"x" * 500_000, b"a"], [b"y" * 1_200_000], [b"b"]]
