"""Tests that are left to the slow tier since another one, which is quick, shows the same kind for far less.

Each took more than a second of processor time or stood still for several; the one beside it goes the same way through
the program, or holds the same law where it is cheaper to hold. A test that is alone in what it shows is not left out,
nor one that a fault of `tests/faults/planted.py` is found by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
_TAKEN = "test_an_answer_that_was_given_while_no_process_was_there_is_taken"
_NO_LARGE = "test_followers_that_read_nothing_keep_no_large_events"
_KILL = "test_a_kill_at_each_point_costs_nothing"
_AS_BEFORE = "test_no_law_is_broken_and_every_log_is_as_before"

STAND_INS: Mapping[str, Mapping[str, str]] = {
    "acceptance/test_alert_floods.py": {
        "test_rules_times_runs_do_not_hold_up_another_organisation": "engine/alerts/test_floods.py"
        "::test_another_organisation_comes_between_any_two_groups",
    },
    "acceptance/test_alerts.py": {
        "test_what_was_given_up_is_sent_anew_by_hand_and_by_cursor": "engine/timers/messages/test_sender.py"
        "::test_what_is_never_taken_is_given_up_and_can_be_sent_anew",
    },
    "acceptance/test_audit.py": {
        "test_a_process_killed_between_commit_and_reply_has_told_it_once[/v1/threads/{}/runs]": "[/api/v1/keys]",
    },
    "acceptance/test_forwarding.py": {
        "test_of_several_nodes_the_one_that_leads_forwards": "engine/timers/forwarding/test_forwarder.py"
        "::test_who_does_not_lead_forwards_nothing",
    },
    "acceptance/test_hostile_connections.py": {
        "test_a_few_followers_of_each_of_several_organisations_keep_no_large_events_either": _NO_LARGE,
        "test_a_body_that_drips_after_its_refusal_holds_no_socket": "asgi/http1/test_phases.py"
        "::test_after_a_reply_to_half_a_body_the_connection_ends_whatever_still_comes",
    },
    "acceptance/test_lanes_leases.py": {
        "test_after_three_attempts_the_run_is_lost": "engine/commands/test_lanes.py"
        "::test_after_so_many_lost_attempts_the_run_is_lost",
        "test_a_late_worker_may_not_end_the_run": "test_a_late_worker_gets_409_and_its_report_is_not_folded",
    },
    "acceptance/test_nodes.py": {
        "test_a_limit_is_shared_by_all_nodes": "asgi/guard/test_limits.py"
        "::test_several_nodes_let_through_what_one_would",
    },
    "acceptance/test_otlp_bounds.py": {
        "test_a_run_of_many_attributes_goes_out_in_pages": "acceptance/test_bounds_in_bytes.py"
        "::test_a_list_ends_a_page_by_its_size",
        "test_what_all_spans_share_costs_no_memory_for_each[a scope]": "[a resource]",
    },
    "acceptance/test_sdk_reporting.py": {
        "test_a_run_that_is_there_but_says_nothing_is_not_given_up": "engine/timers/test_silence.py"
        "::test_an_agent_that_beats_beside_its_run_shows_that_it_is_there",
    },
    "acceptance/test_streams.py": {
        "test_an_activity_reader_cut_at_random_bytes_sees_every_event_once": "acceptance/test_activity_stream.py"
        "::test_cut_at_any_byte_nothing_is_lost_or_seen_twice",
        "test_a_reader_that_does_not_read_harms_nobody": f"acceptance/test_hostile_connections.py::{_NO_LARGE}",
    },
    "bench/test_neighbours.py": {
        "test_hostile_callers_cost_their_neighbour_neither_events_nor_leases": "acceptance/test_who_holds_most.py"
        "::test_two_organisations_that_fill_all_bytes_leave_a_third_its_part",
    },
    "cli/importers/test_otlp.py": {
        "test_a_file_becomes_what_its_exporter_would_have_sent[lines]": "[whole]",
        "test_a_large_request_is_sent_in_parts": "cli/importers/test_delivery.py"
        "::test_what_a_server_takes_only_in_part_is_sent_in_halves",
    },
    "cli/test_serve.py": {
        "test_with_standard_files_that_are_closed_it_serves_and_its_key_is_not_lost[<&- >&- 2>&-]": "[>/dev/null]",
    },
    "deploy/test_deploy.py": {
        "test_haproxy_reads_its_file": "test_what_compose_names_is_there",
    },
    "engine/follow/test_ring.py": {
        "test_thousands_follow_one_run_and_leave_nothing_behind": "acceptance/test_streams.py"
        "::test_many_followers_see_the_same",
    },
    "engine/test_verify.py": {
        "test_a_rebuild_equals_what_was_folded_as_it_came": "projections/test_rebuild.py"
        "::test_rebuild_equals_incremental",
    },
    "examples/test_demo.py": {
        "test_every_printed_line_works_as_it_stands": "test_the_tour_of_the_readme_comes_out_as_it_says",
    },
    "faults/test_failing_calls.py": {
        "test_each_error_of_each_call_passes_or_is_final[write .db-wal EDQUOT]": "faults/test_full_disk.py"
        "::test_a_log_without_room_refuses_and_comes_back[EDQUOT]",
    },
    "faults/test_placed_kills.py": {
        f"{_KILL}[between_the_commit_of_a_group_and_its_publishing]": "acceptance/test_kill.py"
        "::test_kills_lose_nothing",
        f"{_KILL}[before_a_stored_reply_is_written]": "acceptance/test_idempotency_lost_bodies.py"
        "::test_a_process_killed_between_commit_and_reply_has_carried_it_out_once",
    },
    "faults/test_rotten_reads.py": {
        "test_a_page_that_the_disk_does_not_hand_out_is_told_as_that_and_not_as_damage[.db-wal]": "[.db]",
    },
    "faults/test_small_blocks.py": {
        "test_a_first_start_without_room_for_the_index_says_so[64]": "[16]",
    },
    "sdk/integrations/langchain/test_left_open.py": {
        "test_an_open_question_is_the_same_in_the_next_process": _TAKEN,
        "test_a_program_that_brings_the_answer_closes_the_question": _TAKEN,
        "test_an_answer_beside_that_of_the_program_is_told_as_not_taken": _TAKEN,
    },
    "sdk/integrations/test_guides.py": {
        f"test_the_code_of_a_guide_runs_and_reports[{guide}]": "[langchain]"
        for guide in ("model-clients", "openai-agents")
    },
    "sdk/integrations/test_traced.py": {
        "test_the_program_of_a_guide_is_seen_whole_and_once[google-adk-pinned]": "dialects/otlp/test_exports.py"
        "::test_a_trace_is_one_tree_without_an_orphan",
    },
    str(Path("sdk", "work", "test_execute.py")): {
        "test_a_paused_command_that_was_woken_is_stopped_again[signal]": "[elsewhere]",
    },
    str(Path("sdk", "work", "test_worker.py")): {
        "test_what_is_not_done_when_a_worker_goes_is_given_back[deaf-sync]": "[deaf]",
        "test_a_cancel_that_is_ignored_is_forced_at_the_deadline": "acceptance/test_runs_control.py"
        "::test_a_worker_that_does_not_answer_is_cancelled_by_force",
        "test_a_server_that_stands_still_costs_no_attempt": "acceptance/test_worker_questions.py"
        "::test_a_server_that_stood_still_ends_no_lease",
    },
    "sdk/test_strangers.py": {
        "test_a_call_ends_in_its_time_with_all_its_retries[blocking]": "[asyncio]",
    },
    "simulation/test_simulation.py": {
        "test_the_same_seed_gives_the_same_log_in_another_process": f"{_AS_BEFORE}[0]",
        f"{_AS_BEFORE}[120]": "[0]",
        f"{_AS_BEFORE}[240]": "[0]",
    },
    "store/columns/test_moving.py": {
        "test_it_goes_on_where_it_was": "cli/test_migrate.py::test_it_goes_on_when_it_was_killed",
    },
    "test_package.py": {
        "test_the_sdk_reports_with_the_package_alone": "sdk/record/test_default.py"
        "::test_every_name_loads_on_the_standard_library_alone",
    },
}
"""File below `tests` → test, all its cases or one → the test that stands in for it, of the same file unless it says."""


def pairs_of_ids() -> Iterable[tuple[str, str]]:
    """The id of each test that is left out, and of the one that stands in for it, both below `tests`."""
    for file, left in STAND_INS.items():
        for name, other in left.items():
            whole = f"{name.partition('[')[0]}{other}" if other.startswith("[") else other
            yield f"{file}::{name}", whole if ".py::" in whole else f"{file}::{whole}"


def leave_to_the_slow_tier(items: Iterable[pytest.Item]) -> None:
    """Marks those of the table."""
    left = {one for one, _ in pairs_of_ids()}
    for item in items:
        if left.intersection(ids_of(item)):
            item.add_marker(pytest.mark.slow)


def ids_of(item: pytest.Item) -> tuple[str, str]:
    """The ids of a test below `tests`: that of all its cases, and its own."""
    file = item.path.relative_to(TESTS).as_posix() if item.path.is_relative_to(TESTS) else item.path.as_posix()
    return f"{file}::{item.name.partition('[')[0]}", f"{file}::{item.name}"
