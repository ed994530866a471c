"""The fold of a thread: which runs are open, which is the newest."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import event, run_row
from tests.support.fakes import START_MS
from towerlog.model.facts import Effects, Facts
from towerlog.model.principal import shard_key
from towerlog.model.run import MAX_OPEN_RUNS, RunRow, Status
from towerlog.model.thread import MAX_PROCESS_BYTES, MAX_PROCESSES, ThreadRow
from towerlog.model.usage import Usage, UsageReport
from towerlog.projections import runs as run_fold
from towerlog.projections import threads

THREAD = ThreadRow(1, "t", 5, title="A title", policy="reject")


def key(number: int) -> int:
    """A run's number in organisation 1."""
    return shard_key(1, number)


def begun(row: ThreadRow, number: int, *, has_lane: bool = False) -> ThreadRow:
    """The thread after a run began."""
    return threads.fold(row, None, run_row(number, has_lane=has_lane), event(number, 1, run=number))


def ended(row: ThreadRow, number: int, status: Status = Status.COMPLETED) -> ThreadRow:
    """The thread after a run ended."""
    before = run_row(number, has_lane=key(number) in row.lane_runs)
    after = msgspec.structs.replace(before, status=status)
    return threads.fold(row, before, after, event(number + 100, 2, run=number))


def test_a_run_that_begins_is_open_and_the_newest() -> None:
    row = begun(begun(THREAD, 1), 2, has_lane=True)
    assert row.open_runs == (key(1), key(2))
    assert row.lane_runs == (key(2),)
    assert (row.run_count, row.newest_run, row.updated_at) == (2, key(2), START_MS + 2)
    assert (row.title, row.policy, row.created_at) == ("A title", "reject", 5)


def test_a_run_that_ends_is_open_no_more() -> None:
    row = ended(begun(begun(THREAD, 1, has_lane=True), 2, has_lane=True), 1)
    assert (row.open_runs, row.lane_runs, row.run_count, row.newest_run) == ((key(2),), (key(2),), 2, key(2))
    assert row.updated_at == START_MS + 101


def test_nothing_else_moves_a_thread() -> None:
    row = begun(THREAD, 1)
    before = run_row(1)
    paused = msgspec.structs.replace(before, status=Status.PAUSED)
    failed = msgspec.structs.replace(before, status=Status.FAILED)
    revived = msgspec.structs.replace(before, status=Status.COMPLETED)
    for one, other in ((before, before), (before, paused), (failed, failed), (failed, revived)):
        assert threads.fold(row, one, other, event(9, 2)) is row


def test_a_run_may_begin_with_its_end() -> None:
    row = threads.fold(THREAD, None, run_row(1, status=Status.COMPLETED), event(1, 1))
    assert (row.open_runs, row.run_count, row.newest_run) == ((), 1, key(1))


def test_past_so_many_open_runs_the_oldest_gives_way() -> None:
    row = THREAD
    for number in range(1, MAX_OPEN_RUNS + 3):
        row = begun(row, number)
    assert len(row.open_runs) == MAX_OPEN_RUNS
    assert row.open_runs[0] == key(3)
    assert row.run_count == MAX_OPEN_RUNS + 2


def test_what_is_left_without_events_is_what_people_gave() -> None:
    assert threads.unfolded(ended(begun(begun(THREAD, 1), 2), 1)) == THREAD


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_a_thread_is_the_sum_of_its_runs(acts: list[tuple[bool, bool]]) -> None:
    row, runs = THREAD, dict[int, RunRow]()
    for begins, lane in acts:
        if begins or not runs:
            number = len(runs) + 1
            runs[number] = run_row(number, has_lane=lane)
            row = begun(row, number, has_lane=lane)
        else:
            number = next((n for n, run in runs.items() if not run.is_terminal()), 1)
            if not runs[number].is_terminal():
                row = ended(row, number)
                runs[number] = msgspec.structs.replace(runs[number], status=Status.COMPLETED)
    still_open = [run for run in runs.values() if not run.is_terminal()]
    assert row.open_runs == tuple(run.run for run in still_open)
    assert row.lane_runs == tuple(run.run for run in still_open if run.has_lane)
    assert (row.run_count, row.newest_run) == (len(runs), max((run.run for run in runs.values()), default=0))


told_costs = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 90)), max_size=10)


@given(told_costs)
def test_a_process_is_counted_once_whichever_of_its_runs_tell_it(told: list[tuple[str, int]]) -> None:
    thread, runs, counted = ThreadRow(1, "t", 0), dict.fromkeys("abc", run_row()), 0
    for run, cost in told:
        thread, runs[run], added = tell_cost(thread, "p", runs[run], cost)
        counted += added
    assert counted == max((cost for _, cost in told), default=0)


def test_a_process_beyond_the_bound_is_counted_on_from_its_run() -> None:
    thread = ThreadRow(1, "t", 0)
    thread, first, added = tell_cost(thread, "first", run_row(), 40)
    for number in range(MAX_PROCESSES):
        thread, _, added = tell_cost(thread, f"p{number}", run_row(), 7)
        assert added == 7
    assert (len(thread.process_costs), "first" in thread.process_costs) == (MAX_PROCESSES, False)
    assert tell_cost(thread, "first", first, 50)[2] == 10


def test_the_names_of_processes_are_bounded_in_bytes() -> None:
    thread = ThreadRow(1, "t", 0)
    for number in range(MAX_PROCESSES):
        name = f"{number:02}" + "\U0001f4bc" * 198
        thread, _, _ = tell_cost(thread, name, run_row(), 7)
        assert list(thread.process_costs)[-1] == name
    assert sum(len(one.encode()) for one in thread.process_costs) <= MAX_PROCESS_BYTES
    assert len(thread.process_costs) == 10


def test_what_a_run_has_counted_before_it_told_a_process_is_not_counted_again() -> None:
    alone = run_row(usage=Usage(cost_nanos=30))
    thread, _, added = tell_cost(ThreadRow(1, "t", 0), "p", alone, 50)
    assert (added, thread.process_costs) == (20, {"p": 50})


def test_a_cost_that_adds_nothing_leaves_the_row_as_it_was() -> None:
    thread, run, _ = tell_cost(ThreadRow(1, "t", 0), "p", run_row(), 40)
    assert tell_cost(thread, "p", run, 40)[0] is thread


def tell_cost(row: ThreadRow, process: str, before: RunRow, cost: int) -> tuple[ThreadRow, RunRow, int]:
    """The thread and the run after the run has told a cost of its process, and what the roll-ups count."""
    report = UsageReport(Usage(cost_nanos=cost), process_cost=True, process=process)
    parts = run_fold.parts_after(before, Facts(effects=Effects(report=report)), "a")
    spent = threads.newly_counted(row, process, before, Usage(), parts["usage"])
    told = event(1, 1, facts=Facts(spent=spent, effects=Effects(report=report)))
    after = msgspec.structs.replace(before, **parts)
    return threads.count_cost(row, before, after, told, "a"), after, spent.cost_nanos or 0
