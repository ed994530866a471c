"""What the scenarios send and how a run is put together; the measuring itself is done by `make bench`."""

import argparse
import json
from pathlib import Path

import pytest

from bench import run
from bench.report import RESULTS
from bench.scenarios import SCENARIOS, WITH_FLOOR, disk, million
from bench.scenarios.million import in_stream
from bench.ways import Target
from bench.wire import Reply


def options(**given: object) -> argparse.Namespace:
    plain = {"only": None, "quick": False, "way": None, "floor_only": False, "profile": False, "out": None}
    return argparse.Namespace(**{**plain, **given})


def test_without_options_all_is_run_and_the_results_are_the_official_ones() -> None:
    assert run.chosen_scenarios(options()) == list(SCENARIOS)
    assert run.results_path(options()) == RESULTS


PARTS = [{"quick": True}, {"only": ["disk"]}, {"way": "steps"}, {"floor_only": True}, {"profile": True}]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_never_overwrites_the_results_of_the_whole(part: dict[str, object]) -> None:
    assert run.results_path(options(**part)) != RESULTS
    assert run.results_path(options(**part, out="/tmp/mine.json")) == Path("/tmp/mine.json")


def test_only_what_was_asked_for_is_run_and_only_what_the_floor_can_when_it_is_alone() -> None:
    assert run.chosen_scenarios(options(only=["disk", "single"])) == ["single", "disk"]
    assert run.chosen_scenarios(options(floor_only=True)) == list(WITH_FLOOR)


def test_a_message_of_the_thread_is_1024_bytes_of_json() -> None:
    for number in (0, 1, 17, 399):
        assert len(json.dumps(disk.message(number), separators=(",", ":"))) == 1024
    assert disk.message(3) != disk.message(5)


def test_a_checkpoint_has_a_meta_entry_for_each_message() -> None:
    history = [disk.message(n) for n in range(8)]
    data = disk.checkpoint(history, 4)["data"]
    assert len(data["history"]) == len(data["history_meta"]) == 8
    assert (data["step_index"], data["turn_start_history_len"]) == (4, 6)


def test_what_was_said_of_a_message_is_said_again_unchanged_in_every_later_turn() -> None:
    history = [disk.message(n) for n in range(8)]
    early, late = disk.checkpoint(history[:4], 2)["data"], disk.checkpoint(history, 4)["data"]
    assert late["history_meta"][:4] == early["history_meta"]
    assert late["history"][:4] == early["history"]


def test_the_bytes_of_a_folder_are_those_of_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "inner" / "b").write_bytes(b"x" * 5)
    assert disk.bytes_in(tmp_path) == 15


def test_the_steps_of_the_full_store_are_distinct_and_take_turns_among_runs() -> None:
    targets = [Target(n, f"stored-{n}") for n in range(60)]
    events = [json.loads(event) for event in million.step_events(targets, "2026-01-01T00:00:00.000Z")]
    assert len(events) == len({event["event_id"] for event in events}) == 60 * million.STEPS_PER_RUN
    first = [event["data"]["thread_id"] for event in events[: million.RUNS_AT_ONCE]]
    assert len(set(first)) == million.RUNS_AT_ONCE


def test_frames_with_data_are_counted_and_pings_are_not() -> None:
    body = b'retry: 1000\n\n: ping\n\nid: 1\ndata: {"seq":1}\n\nid: 2\ndata: {"seq":2}\n\n'
    assert in_stream(Reply(200, body, 1.0, None)) == 2
