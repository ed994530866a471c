"""A segment: what is appended is read from the front, half a line is none, and an append is whole or nothing."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from towerlog.sdk.record.backlog.own_files import OwnFolder
from towerlog.sdk.record.backlog.segments import Segment


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OwnFolder]:
    with OwnFolder.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def segment(folder: OwnFolder) -> Segment:
    return Segment(folder, "1.ndjson", "c1")


def test_lines_are_read_from_the_front_and_again_until_they_are_settled(segment: Segment) -> None:
    segment.append([b"a", b"bb", b"ccc"])
    assert segment.read(2, 1000) == segment.read(2, 1000) == [b"a", b"bb"]
    segment.settle([b"a", b"bb"])
    assert (segment.read(9, 1000), segment.waiting) == ([b"ccc"], 1)
    segment.append([b"d"])
    assert segment.read(9, 1000) == [b"ccc", b"d"]


def test_a_read_is_bounded_by_bytes_but_has_one_line_at_least(segment: Segment) -> None:
    segment.append([b"x" * 100, b"y" * 100])
    assert segment.read(9, 150) == [b"x" * 100]
    assert segment.read(9, 10) == [b"x" * 100]


def test_another_process_finds_the_whole_lines_and_cuts_the_half_one(segment: Segment, folder: OwnFolder) -> None:
    segment.append([b"a", b"b"])
    segment.close()
    with segment.path.open("ab") as file:
        file.write(b'{"half')
    found = Segment.load(folder, segment.name, "c1")
    assert (found.waiting, found.read(9, 100)) == (2, [b"a", b"b"])
    found.append([b"c"])
    assert found.read(9, 100) == [b"a", b"b", b"c"]
    found.close()


def test_an_append_that_fails_in_the_middle_leaves_nothing_behind(segment: Segment) -> None:
    segment.append([b"a"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            segment.append([b"x" * 200])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    segment.append([b"b"])
    assert (segment.read(9, 100), segment.path.read_bytes()) == ([b"a", b"b"], b"a\nb\n")
    segment.close()


def test_only_its_owner_can_read_it(segment: Segment) -> None:
    segment.append([b"a"])
    assert segment.path.stat().st_mode & 0o777 == 0o600
    segment.remove()
    assert not segment.path.exists()
