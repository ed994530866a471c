"""Walks: how they are counted, that they are of real requests from the socket to the disk, and how long they may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tidy import walk
from tests.tidy.walk import CEILINGS, PACKAGE, REQUESTS, Recorder, Walk, traced
from towerlog.model.times import format_ms


def walk_of(*files: str) -> Walk:
    """One call into each of these files, one after the other."""
    return Walk(tuple((file, f"into_{file}") for file in files))


@pytest.mark.parametrize(
    ("entered", "files", "stays", "returns"),
    [
        ("", 0, 0, 0),
        ("a", 1, 1, 0),
        ("aaa", 1, 1, 0),
        ("ab", 2, 2, 0),
        ("aab", 2, 2, 0),
        ("aba", 2, 3, 1),
        ("abab", 2, 4, 2),
        ("abcba", 3, 5, 2),
    ],
)
def test_a_return_is_a_stay_in_a_file_that_was_left(entered: str, files: int, stays: int, returns: int) -> None:
    made = walk_of(*entered)
    assert (len(made.files), len(made.stays), made.returns) == (files, stays, returns)


def test_functions_stand_in_the_order_of_their_first_call_and_nameless_ones_do_not() -> None:
    made = Walk((("a", "f"), ("b", "g"), ("a", "h.<locals>.<lambda>"), ("a", "A.h"), ("a", "f")))
    assert made.functions("a") == ["f", "A.h"]
    assert made.functions("c") == []


def test_only_calls_into_the_package_are_noted_and_only_while_it_is_armed() -> None:
    recorder = Recorder()
    recorder.install()
    try:
        format_ms(0)
        recorder.armed = True
        walk_of("a")
        format_ms(0)
        made = recorder.take()
        format_ms(0)
    finally:
        recorder.remove()
    assert made.files == ["model/times.py"]
    assert recorder.calls == []


def test_the_walk_leads_from_the_socket_to_the_disk_and_back() -> None:
    alone = traced()["alone"]
    assert alone.files[0] == alone.stays[-1] == "asgi/connection.py"
    assert {"dialects/steps.py", "engine/commit/writer.py", "projections/runs.py", "model/chain.py"} <= {*alone.files}
    assert any(file.startswith("store/sqlite/") for file in alone.files), "the writing thread is traced as well"
    assert not any(file.startswith(("asgi/push/", "cli/", "sdk/")) for file in alone.files)


def test_a_follower_adds_its_stream() -> None:
    followed = traced()["followed"]
    assert any(file.startswith("asgi/push/") for file in followed.files)
    assert "dialects/runs/frames.py" in followed.files


def test_walks_are_kept_until_what_they_are_made_of_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "KEPT", tmp_path / "kept")
    for made_of, told, found in (("1", "a", "a"), ("1", "b", "a"), ("2", "c", "c"), ("2", "d", "c")):
        monkeypatch.setattr(walk, "_made_of", lambda made_of=made_of: made_of)
        monkeypatch.setattr(walk, "_traced_anew", lambda told=told: json.dumps({"alone": [[told, "f"]]}))
        assert traced.__wrapped__()["alone"].files == [found]
    text = walk.KEPT.read_text()
    walk.KEPT.write_text(text[:9])
    assert traced.__wrapped__()["alone"].files == ["d"], "what was written in part is traced anew"


def test_what_a_timer_does_meanwhile_is_left_out() -> None:
    made: dict[str, Any] = {}
    text = "async def beat(work):\n    work()\n\ndef work_now(work):\n    work()\n"
    exec(compile(text, str(PACKAGE / "engine" / "timers" / "planted.py"), "exec"), made)
    recorder = Recorder()
    recorder.armed = True
    recorder.install()
    try:
        with pytest.raises(StopIteration):
            made["beat"](lambda: format_ms(0)).send(None)
        assert recorder.take().files == []
        recorder.armed = True
        made["work_now"](lambda: format_ms(0))
    finally:
        recorder.remove()
    assert recorder.take().files == ["engine/timers/planted.py", "model/times.py"]


@pytest.mark.parametrize("request_name", REQUESTS)
def test_one_warm_request_passes_few_files(request_name: str) -> None:
    found, (max_files, max_returns) = traced()[request_name], CEILINGS[request_name]
    assert len(found.files) <= max_files, f"{len(found.files)} files: {found.files}"
    assert found.returns <= max_returns, f"{found.returns} returns; the stays are: {' > '.join(found.stays)}"


def test_every_request_has_a_ceiling_and_the_frequent_ones_have_the_low_one() -> None:
    assert set(CEILINGS) == set(REQUESTS)
    assert CEILINGS["alone"] == CEILINGS["step"] == (25, 30)
