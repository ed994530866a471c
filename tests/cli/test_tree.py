"""`towerlog runs tail` of a run that has runs below it: one list of events, in the order in which they happened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

from tests.cli.serving import asking, lines, process
from tests.cli.terminal import seen
from tests.sdk.served import unique
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.cli import tree as tree_module
from towerlog.cli.tree import Remaining, Told, Tree
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import RunInfo
from towerlog.sdk.record.recorder import Recorder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("tree") / "data", NO_LIMITS) as made:
        yield made


@pytest.fixture
def recorder(server: Server, tmp_path) -> Iterator[Recorder]:
    made = Recorder(server.base_url, ADMIN_KEY, spool_dir=tmp_path / "spool")
    yield made
    made.close(0.0)


def family(recorder: Recorder, children: int = 2) -> str:
    """A run with runs below it, all ended; its id."""
    with recorder.record_run(agent=unique("lead")) as lead:
        lead.step("plan")
        for number in range(children):
            assert recorder.flush(20)
            with recorder.record_run(agent="scout") as scout:
                scout.step(f"look {number}")
                if not number:
                    assert recorder.flush(20)
                    with recorder.record_run(agent="digger") as digger:
                        digger.message_delta("deep down")
            assert recorder.flush(20)
        lead.step("conclude")
    assert recorder.flush(20)
    assert lead.run_id is not None
    return lead.run_id


ORDER = [
    "[run.started]",
    "[step] plan",
    "  scout  [run.started]",
    "  scout  [step] look 0",
    "    digger  [run.started]",
    "    digger  deep down",
    "    digger  [run.completed]",
    "  scout  [run.completed]",
    "  scout 2  [run.started]",
    "  scout 2  [step] look 1",
    "  scout 2  [run.completed]",
    "[step] conclude",
    "[run.completed]",
]


def untimed(shown: list[str]) -> list[str]:
    """The lines without times, and without what `run.started` says."""
    return [re.sub(r"(\[run\.started\]).*", r"\1", re.sub(r"^\d\d:\d\d:\d\d  ", "", line)) for line in shown]


def test_what_has_happened_in_a_tree_is_told_in_its_order(server: Server, recorder: Recorder) -> None:
    run_id = family(recorder)
    assert untimed(seen(server, 80, "runs", "tail", run_id)) == ORDER
    alone = [line for line in ORDER if not line.startswith(" ")]
    assert untimed(lines(server, "runs", "tail", run_id, "--no-children")) == alone


def test_what_was_stored_in_one_moment_is_told_in_its_order_too(server: Server, recorder: Recorder) -> None:
    """One batch has one time of arrival: only the place in the log says what came first."""
    with recorder.record_run(agent=unique("lead")) as lead:
        lead.step("plan")
        with recorder.record_run(agent="scout") as scout:
            scout.step("look")
        lead.step("between")
        with recorder.record_run(agent="digger") as digger:
            digger.step("dig")
        lead.step("conclude")
    assert recorder.flush(20)
    told = untimed(lines(server, "runs", "tail", str(lead.run_id)))
    assert told == [
        "[run.started]",
        "[step] plan",
        "  scout  [run.started]",
        "  scout  [step] look",
        "  scout  [run.completed]",
        "[step] between",
        "  digger  [run.started]",
        "  digger  [step] dig",
        "  digger  [run.completed]",
        "[step] conclude",
        "[run.completed]",
    ]


def test_in_json_each_event_names_its_run(server: Server, recorder: Recorder) -> None:
    run_id = family(recorder)
    told = [json.loads(line) for line in lines(server, "runs", "tail", run_id, "--json")]
    seqs: dict[str, list[int]] = {}
    for one in told:
        seqs.setdefault(one["run_id"], []).append(one["seq"])
    assert next(iter(seqs)) == run_id
    assert len(seqs) == 4
    assert all(found == list(range(1, len(found) + 1)) for found in seqs.values())


def test_a_child_that_begins_meanwhile_is_followed_past_the_end_of_its_parent(
    server: Server, recorder: Recorder
) -> None:
    with recorder.record_run(agent="lead") as lead:
        assert recorder.flush(20)
        tail = process(server, "runs", "tail", str(lead.run_id))
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert "[run.started]" in tail.stdout.readline()
        recording = recorder.record_run(agent="scout")
        child = copy_context().run(recording.__enter__)  # so that it is no longer the current run when it ends here
        assert "  scout  [run.started]" in tail.stdout.readline()
    assert "[run.completed]" in tail.stdout.readline()
    assert "1 run below it not yet" in tail.stderr.readline()
    child.step("still here")
    assert "  scout  [step] still here" in tail.stdout.readline()
    recording.__exit__(None, None, None)
    rest, said = tail.communicate(timeout=60)
    assert "  scout  [run.completed]" in rest
    assert (tail.returncode, said) == (0, "")


def test_so_many_runs_are_followed_at_a_time_and_the_others_after_them(
    server: Server, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "MAX_FOLLOWED", 2)
    monkeypatch.setattr(tree_module, "MAX_WAITING", 1)
    run_id = family(recorder, children=5)
    with Client(server.base_url, ADMIN_KEY) as client:
        tree = Tree(client, run_id)
        told = list(tree.events())
    assert tree.left_out == 0
    labels = {one.branch.label for one in told if isinstance(one, Told)}
    assert labels == {"", "digger", "scout", *(f"scout {number}" for number in range(2, 6))}


def test_a_question_below_ends_a_tail_until_then(server: Server, recorder: Recorder) -> None:
    with recorder.record_run(agent="lead") as lead, recorder.record_run(agent="scout") as scout:
        scout.tell("run.waiting_for_input", {"question": "Really?", "question_key": "k"})
        assert recorder.flush(20)
        assert (
            "  scout  [run.waiting_for_input] Really?"
            in lines(server, "runs", "tail", str(lead.run_id), "--until-question")[-1]
        )


def test_what_remains_is_counted_and_not_waited_for_by_who_looks_at_the_run_alone(
    server: Server, recorder: Recorder
) -> None:
    with recorder.record_run(agent="lead") as lead:
        recording = recorder.record_run(agent="scout")
        copy_context().run(recording.__enter__)
    assert recorder.flush(20)
    done = asking(server, "runs", "tail", str(lead.run_id), "--no-children")
    assert (done.exit_code, "1 run below it not shown" in done.stderr) == (0, True)
    with Client(server.base_url, ADMIN_KEY) as client:
        found = Tree(client, str(lead.run_id)).events()
        wait_until(lambda: next(found) == Remaining(1), "what remains")
    recording.__exit__(None, None, None)


class Counting(Client):
    """Counts how often a run was asked for, which brings all that it was given and all below it."""

    asked = 0

    def get_run(self, run_id: str, *, with_children: bool = True) -> RunInfo:
        self.asked += 1
        return super().get_run(run_id, with_children=with_children)


def test_a_run_that_goes_on_is_not_read_whole_to_find_those_below_it(server: Server, recorder: Recorder) -> None:
    with recorder.record_run(agent="lead") as lead:
        assert recorder.flush(20)
        with Counting(server.base_url, ADMIN_KEY) as client:
            found = Tree(client, str(lead.run_id)).events()
            assert isinstance(next(found), Told)
            for name in ("scout", "digger"):
                recording = recorder.record_run(agent=name)
                copy_context().run(recording.__enter__)
                told = next(found)
                assert isinstance(told, Told)
                assert (told.branch.label, client.asked) == (name, 0)
                recording.__exit__(None, None, None)
                assert isinstance(next(found), Told)


def test_long_events_wait_at_the_server(server: Server, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MAX_WAITING_BYTES", 6_000)
    with recorder.record_run(agent="lead") as lead:
        for number in range(20):
            lead.tell("step", {"name": f"step {number}", "text": "x" * 2_000})
    assert recorder.flush(20)
    with Client(server.base_url, ADMIN_KEY) as client:
        tree = Tree(client, str(lead.run_id), with_children=False)
        branch = tree._root
        wait_until(lambda: len(branch.waiting) == 3, "what fits: the start and two steps")
        told = [one.event.seq for one in tree.events() if isinstance(one, Told)]
    assert told == list(range(1, 23))
    assert branch.waiting_bytes == 0


def test_one_event_that_is_longer_waits_alone(
    server: Server, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "MAX_WAITING_BYTES", 100)
    run_id = family(recorder)
    assert untimed(lines(server, "runs", "tail", run_id)) == ORDER


class Breaking(Client):
    """Fails in a way that nobody has thought of."""

    def follow(self, *_given: Any, **_more: Any) -> Any:
        raise ZeroDivisionError
        yield


def test_a_follower_that_breaks_is_no_end_of_the_run(server: Server) -> None:
    with Breaking(server.base_url, ADMIN_KEY) as client, pytest.raises(ZeroDivisionError):
        list(Tree(client, "01890000-0000-7000-8000-000000000000", with_children=False).events())
