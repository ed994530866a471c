"""What is promised, which test shows it, and which planted fault that test finds; `docs/operate/promises.md` is made of
this table, and `test_promises.py` holds it against the tests and against what README and SECURITY say.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.faults.planted import FAULTS

README, SECURITY = "README.md", "SECURITY.md"
DEPLOY, LIMITS, BACKUP = "docs/operate/deploy.md", "docs/operate/limits.md", "docs/operate/backup.md"
DISK, FULL, READS = "faults/test_failing_disk.py", "faults/test_full_disk.py", "faults/test_rotten_reads.py"
STARTS, REPLACING = "faults/test_starts.py", "faults/test_replacing.py"
TORN, VERIFY = "faults/test_torn_copies.py", "faults/test_verify_and_rebuild.py"
CALLS, KILLS, LONG = "faults/test_failing_calls.py", "faults/test_placed_kills.py", "faults/test_long_readers.py"
UNHEARD, STILL = "faults/test_unheard_time.py", "faults/test_standstill.py"
SEEDS, TELEMETRY = "simulation/test_simulation.py", "simulation/test_telemetry.py"
RIGHTS, TENANCY, KEYS = (
    "acceptance/test_rights.py",
    "acceptance/test_tenancy_matrix.py",
    "acceptance/test_keys_and_orgs.py",
)
HOSTILE, PHASES, BLOCKS = (
    "acceptance/test_hostile_connections.py",
    "asgi/http1/test_phases.py",
    "acceptance/test_loop_blocks.py",
)


class Promise(NamedTuple):
    """One row."""

    says: str
    tests: tuple[str, ...]
    """`FILE::FUNCTION` or `FOLDER::FUNCTION`, below `tests`."""
    mutants: tuple[str, ...] = ()
    """Faults that its tests plant themselves: functions of `changed/sitecustomize.py`, `Mutant`s, or ids of their own.
    Those of `planted.py` come by their tests."""
    quotes: tuple[tuple[str, str], ...] = ()
    """(page, beginning of a sentence there) that promise this."""

    @property
    def faults(self) -> tuple[str, ...]:
        """All planted faults that its tests find, by name."""
        planted = (fault.name for fault in FAULTS if fault.test.partition("[")[0] in self.tests)
        return (*self.mutants, *planted)


def of(page: str, *beginnings: str) -> tuple[tuple[str, str], ...]:
    """Sentences of one page."""
    return tuple((page, beginning) for beginning in beginnings)


DURABLE = (
    Promise(
        "What was acknowledged survives the kill of the process, whenever it comes.",
        (
            "acceptance/test_kill.py::test_kills_lose_nothing",
            "acceptance/test_kill.py::test_a_kill_right_after_each_ack_loses_nothing",
            f"{KILLS}::test_a_kill_at_each_point_costs_nothing",
            f"{KILLS}::test_a_kill_finds_what_is_acknowledged_before_its_commit",
        ),
        ("ack_before_commit",),
        of(README, "A reply means that the event is on disk.") + of(DEPLOY, "Both are safe, and so is `kill -9`"),
    ),
    Promise(
        "What was acknowledged survives a power cut at any moment.",
        (
            f"{DISK}::test_a_power_cut_at_any_moment_costs_nothing",
            f"{DISK}::test_a_power_cut_finds_what_is_acknowledged_too_early",
        ),
        ("synchronous_normal", "synchronous_off", "ack_before_commit"),
        of(SECURITY, "A success reply is sent after the event is on stable storage.")
        + of(README, "every run lands in one durable, ordered log"),
    ),
    Promise(
        "A new store and a backup are there after a power cut, name and all.",
        (
            f"{DISK}::test_a_new_store_has_its_name_on_disk_before_anything_is_acknowledged",
            f"{DISK}::test_a_backup_is_synced_before_it_has_its_name_and_its_folder_after",
            f"{STARTS}::test_a_new_store_whose_folder_cannot_be_synced_is_not_begun",
        ),
        ("forget / EIO 0 -1", "folder_not_synced", "folder_sync_ignored"),
    ),
    Promise(
        "The first write or sync that fails is the last: 503, exit code 70 at once, the files left as they are.",
        (
            f"{DISK}::test_the_first_failure_is_the_last",
            f"{CALLS}::test_each_error_of_each_call_passes_or_is_final",
            f"{CALLS}::test_what_takes_one_for_the_other_is_found",
            f"{DISK}::test_a_failure_that_is_passed_over_is_found",
            f"{DISK}::test_what_a_failed_sync_has_lost_is_on_disk_before_a_restart_builds_on_it",
            f"{STARTS}::test_a_command_appends_nothing_to_what_a_failed_sync_has_lost",
            f"{STARTS}::test_no_log_is_written_again_while_another_process_writes_to_it",
        ),
        ("sync_retried", "error_swallowed", "log_taken_as_found", "command_takes_no_place", "log_written_unlocked"),
        of(LIMITS, "A write or a sync that fails for another reason is final"),
    ),
    Promise(
        "A full disk stops writes and nothing else, and they come back by themselves.",
        (
            f"{FULL}::test_a_checkpoint_without_room_passes_and_is_told",
            f"{FULL}::test_a_checkpoint_that_is_held_against_all_commits_is_found",
            f"{FULL}::test_a_log_without_room_refuses_and_comes_back",
            f"{FULL}::test_twenty_rounds_of_a_disk_that_fills_lose_nothing",
            f"{FULL}::test_a_start_on_a_full_disk_says_so",
            f"{CALLS}::test_each_error_of_each_call_passes_or_is_final",
            f"{CALLS}::test_what_takes_one_for_the_other_is_found",
            f"{CALLS}::test_a_start_that_cannot_open_a_file_says_so_and_costs_nothing",
            f"{CALLS}::test_a_first_start_that_cannot_sync_its_folder_says_so",
            f"{FULL}::test_a_command_on_a_full_disk_says_so",
            f"{FULL}::test_a_command_on_a_read_only_disk_says_so",
        ),
        ("checkpoint_remembered", "no_room_is_final"),
        of(LIMITS, "No restart is needed once there is room.", "A write that finds no room"),
    ),
    Promise(
        "Below the guard writes are refused before the disk is full; reads and deletes go on.",
        (
            f"{FULL}::test_the_guard_refuses_writes_and_nothing_else",
            "store/test_space.py::test_it_is_low_below_the_guard",
        ),
        (),
        of(LIMITS, "Reads, streams, the revoking of keys and the deleting of old replies go on"),
    ),
    Promise(
        "The write-ahead log never takes more than 256 MiB, whoever reads.",
        (
            f"{FULL}::test_a_reader_that_stands_still_holds_writes_up_before_the_log_is_long",
            f"{FULL}::test_a_log_without_a_bound_is_found",
            "store/sqlite/test_connection.py::test_the_wal_stays_bounded_under_a_load_of_writing",
        ),
        ("log_without_a_bound",),
        of(LIMITS, "At 160 MiB writes wait for up to a second"),
    ),
    Promise(
        "A backup and a verify beside a running server hold no write up, and let the log start anew.",
        (
            f"{LONG}::test_a_slow_reader_beside_a_load_refuses_no_write",
            "store/sqlite/upkeep/test_pages.py::test_the_log_starts_anew_while_a_copy_is_made",
        ),
        ("one_snapshot", "verified_in_place"),
        of(LIMITS, "`towerlog backup` and `towerlog verify` read in steps")
        + of(BACKUP, "It works while the server runs, and holds none of its writes up"),
    ),
    Promise(
        "SIGTERM ends the process in ten seconds and in order, also on a full disk and with syncs that do not end.",
        (
            "acceptance/test_drain.py::test_sigterm_drains_with_open_streams_and_load",
            f"{FULL}::test_a_stop_on_a_full_disk_is_an_orderly_one",
            f"{FULL}::test_a_stop_waits_for_no_sync_that_does_not_end",
        ),
        (),
        of(DEPLOY, "SIGTERM stops it within ten seconds"),
    ),
)

WHOLE = (
    Promise(
        "Rot is noticed: an event that is not what was written is named, and not served.",
        (
            f"{READS}::test_one_damaged_event_is_named_everywhere_and_hides_no_other",
            f"{READS}::test_reads_that_check_nothing_are_found",
            f"{READS}::test_a_page_that_is_gone_costs_what_lay_on_it",
            f"{READS}::test_ready_means_that_real_pages_can_be_read",
        ),
        ("hash_not_checked",),
        of(SECURITY, "Each run's events form a hash chain"),
    ),
    Promise(
        "`verify` finds flipped rows and indexes; `rebuild` works whenever the log is whole.",
        (
            "acceptance/test_cli.py::test_verify_finds_one_changed_letter_in_the_log",
            "acceptance/test_cli.py::test_verify_finds_a_forged_projection_and_rebuild_mends_it",
            f"{VERIFY}::test_an_index_row_that_was_flipped_is_found_and_its_event_named",
            f"{VERIFY}::test_a_rebuild_works_whatever_else_is_damaged",
        ),
        (),
        of(SECURITY, "`towerlog verify` walks all of it"),
    ),
    Promise(
        "Files that do not belong together are refused, and a restore is one command; old cursors get a gap.",
        (
            f"{TORN}::test_a_database_without_its_log_is_refused",
            f"{TORN}::test_the_log_of_another_database_is_refused",
            f"{TORN}::test_a_restore_takes_the_old_files_away_and_keeps_them",
            f"{TORN}::test_after_a_restore_a_bare_cursor_of_the_lost_events_gets_a_gap",
        ),
    ),
    Promise(
        "A restore or rebuild that is killed at any call leaves the old store or the new one, never none.",
        (
            f"{REPLACING}::test_killed_at_any_call_the_old_store_or_the_new_one_is_there",
            f"{REPLACING}::test_each_step_of_a_replacement_is_on_disk_before_the_next",
            f"{REPLACING}::test_a_place_that_is_emptied_first_is_found",
        ),
        ("place_emptied_first", "folder_not_synced"),
        of(BACKUP, "If the command is killed, or the power fails,"),
    ),
    Promise(
        "A backup that is taken under load can be served.",
        (
            "acceptance/test_cli.py::test_a_backup_taken_beside_the_running_server_can_be_served",
            "store/sqlite/upkeep/test_backup.py::test_a_copy_is_the_store_of_one_moment_after_the_call",
            "store/sqlite/upkeep/test_pages.py::test_a_copy_is_what_one_commit_has_left",
            f"{LONG}::test_a_copy_that_passes_the_log_over_is_refused",
        ),
        ("log_passed_over",),
        of(BACKUP, "The copy is the store of one moment"),
    ),
)

ORDER = (
    Promise(
        "A run is one order without gaps, and a retried event is stored once.",
        (
            f"{SEEDS}::test_no_mutant_lives",
            "contract/test_append.py::test_seq_is_dense_per_run",
            "acceptance/test_steps_wire.py::test_an_event_id_sent_by_many_at_once_stores_once",
        ),
        ("a repeated event is stored again", "a repeat under an id is news"),
        of(README, "every run lands in one durable, ordered log"),
    ),
    Promise(
        "A follower sees every event once and in order, however often it is cut; what is missing is said.",
        (
            "acceptance/test_streams.py::test_a_reader_cut_at_random_bytes_sees_every_seq_once_and_in_order",
            "engine/follow/test_gaps.py::test_what_was_trimmed_is_told_as_a_gap_and_the_rest_follows",
        ),
        (),
        of(README, "Towerlog follows a run while it goes on"),
    ),
    Promise(
        "A cancel that is not heeded is forced, and a run ends once.",
        (f"{SEEDS}::test_no_mutant_lives", "acceptance/test_runs_control.py::test_many_cancels_at_once_end_a_run_once"),
        ("a forced cancel leaves the holder", "a finished run finishes again", "a cancel can be talked out of"),
        of(README, "If it has not stopped within 30 seconds"),
    ),
    Promise(
        "A run has one holder at a time; a lease belongs to the key that claimed it.",
        (f"{SEEDS}::test_no_mutant_lives", f"{RIGHTS}::test_the_holders_name_is_no_key"),
        ("expiry is not checked at a claim", "the epoch is not compared", "another key may report"),
        of(SECURITY, "Ids of runs and workers give no rights.", "A lease belongs to the API key"),
    ),
    Promise(
        "Nobody is judged by time in which nobody could be heard: full disks, held logs, slow syncs, standstills.",
        (
            f"{UNHEARD}::test_each_law_finds_its_mutant",
            f"{UNHEARD}::test_a_lease_outlasts_a_full_disk_and_ends_when_it_has_been_listened_for",
            f"{UNHEARD}::test_a_lease_outlasts_the_guard_of_the_disk",
            f"{UNHEARD}::test_a_lease_outlasts_a_reader_that_holds_the_log",
            f"{UNHEARD}::test_a_lease_outlasts_a_slow_sync",
            f"{UNHEARD}::test_a_wait_for_the_place_to_write_is_an_outage_as_well",
            f"{STILL}::test_a_heartbeat_that_waits_in_a_stopped_servers_socket_keeps_the_lease",
        ),
        (
            "a full disk is no outage",
            "nobody finds out that there is room",
            "the guard is no outage",
            "whom the guard refuses is judged",
            "whom a held log refuses is judged",
            "a slow sync counts",
            "what waits in sockets comes too late",
            "a standstill is not noticed",
            "a wait for the place to write counts",
            "what was left out counts after all",
            "standstill_counts",
        ),
        of(DEPLOY, "A worker or an agent is not judged by time in which the server could not hear it."),
    ),
    Promise(
        "Outages that come again and again keep no dead worker's lease for ever, and hide no silence.",
        (
            f"{UNHEARD}::test_outages_that_come_again_and_again_keep_nobody_for_ever_and_cost_nobody_a_lease",
            f"{UNHEARD}::test_long_outages_that_come_again_and_again_hide_no_silence",
            f"{UNHEARD}::test_of_standstills_that_follow_one_another_a_second_counts",
            f"{UNHEARD}::test_each_law_finds_its_mutant",
        ),
        (
            "nothing counts between two outages",
            "each slow write has its grace",
            "long outages hide a silence",
        ),
        of(DEPLOY, "Only time in which nobody could be heard is left out."),
    ),
    Promise(
        "After a start or a long outage a run is given up only after as long a listening as the threshold.",
        (
            f"{UNHEARD}::test_after_a_long_outage_silence_is_counted_anew",
            f"{TELEMETRY}::test_no_mutant_lives",
        ),
        ("listening goes on through an outage", "who was not there judges"),
        of(DEPLOY, "After a restart, and after an outage of 5 seconds or more"),
    ),
    Promise(
        "A wall clock that is set, ahead or back, ends no lease, judges no run, drops no reply and orders no list.",
        (
            f"{UNHEARD}::test_a_wall_clock_that_is_set_either_way_ends_no_run_early_and_keeps_none_for_ever",
            f"{UNHEARD}::test_what_is_heard_after_the_clock_was_set_counts_from_then",
            f"{UNHEARD}::test_a_reply_is_kept_for_a_day_whatever_the_wall_clock_is_set_to",
            f"{UNHEARD}::test_what_came_last_is_listed_first_whatever_the_wall_clock_is_set_to",
            f"{STILL}::test_a_real_clock_that_is_set_takes_no_lease_and_its_times_follow",
        ),
        (
            "a clock set ahead is believed",
            "a clock set back is believed",
            "a lease's end is shown as it is kept",
            "replies grow old by the wall",
            "threads are listed by the clock",
        ),
        of(DEPLOY, "The machine's clock may be set, ahead or back, while the server runs."),
    ),
)

ACCESS = (
    Promise(
        "A route without a scope does not start; without a key there is nothing but health, and metrics from here.",
        (
            "asgi/test_routes.py::test_a_route_without_a_scope_does_not_start",
            f"{KEYS}::test_what_needs_no_key",
            f"{TENANCY}::test_no_key_is_401_whatever_else_is_wrong",
            "asgi/pages/test_pages.py::test_metrics_are_for_this_machine_or_an_admin",
        ),
        (),
        of(SECURITY, "Every route declares the scopes", "There is no anonymous access"),
    ),
    Promise(
        "One organisation never sees another.",
        (
            f"{TENANCY}::test_what_another_organisation_has_is_not_there",
            f"{TENANCY}::test_no_byte_of_theirs_reaches_anybody_else",
            f"{TENANCY}::test_queries_and_bodies_that_name_theirs",
        ),
        (),
        of(SECURITY, "The organisation comes from the key"),
    ),
    Promise(
        "A revocation reaches open streams within five seconds.",
        (
            f"{KEYS}::test_a_revocation_is_honoured_open_streams_included",
            "asgi/guard/test_auth.py::test_a_caller_is_remembered_for_two_seconds",
            "asgi/guard/test_auth.py::test_a_revoked_keys_streams_are_stopped_and_no_others",
            "asgi/guard/test_auth.py::test_open_streams_are_asked_for_once_a_key_every_two_seconds",
        ),
        (),
        of(SECURITY, "Open streams check the key again"),
    ),
    Promise(
        "A held run changes by its holder's word alone, and what is wanted is told to that key.",
        (
            f"{SEEDS}::test_no_mutant_lives",
            f"{RIGHTS}::test_an_answer_reaches_the_key_that_reports_the_run_and_no_other",
            f"{RIGHTS}::test_worker_ids_and_answers_are_for_readers_and_their_own_key",
        ),
        ("a stranger's word counts", "whoever asks is told", "whoever asks of a run in the queue is told"),
        of(SECURITY, "Commands, such as a person's answer", "A key that may only work sees no other worker's id."),
    ),
    Promise(
        "Keys are random, shown once, stored as a hash, and may do what their scopes say.",
        (
            "test_ambient.py::test_no_letter_of_a_token_is_likelier_than_another",
            "engine/commands/test_keys.py::test_only_the_hash_of_a_key_is_kept",
            "asgi/test_service.py::test_a_secret_is_in_the_first_reply_alone",
            f"{KEYS}::test_the_data_folder_holds_no_key_in_clear",
            f"{KEYS}::test_a_key_may_do_what_its_scope_says_and_no_more",
            f"{KEYS}::test_a_key_that_cannot_be_is_refused_in_words",
            f"{KEYS}::test_a_server_without_a_bootstrap_key_prints_one_once",
        ),
        (),
        of(
            SECURITY, "A key carries more than 190 bits", "The first start prints one admin key", "Keys can be made for"
        ),
    ),
    Promise(
        "Secrets of providers are named and neither stored nor read.",
        (
            "dialects/native/test_personas.py::test_a_wrong_field_of_a_route_is_named_and_never_shown",
            "acceptance/test_provider_keys.py::test_the_server_reads_no_variable_that_a_route_names",
        ),
        (),
        of(SECURITY, "A provider route names the environment variable", "The server never reads that variable"),
    ),
    Promise(
        "The command line's own key is its owner's alone and goes to no other server; none is given as an argument.",
        (
            "cli/test_connect.py::test_the_local_key_is_made_once_and_is_its_owners_alone",
            "cli/test_connect.py::test_the_local_key_goes_to_no_other_address",
            "cli/test_connect.py::test_the_local_key_goes_to_no_server_of_another_store",
            "store/test_listening.py::test_what_a_dead_server_wrote_counts_for_nothing",
            "cli/test_connect.py::test_a_key_that_others_could_read_is_not_used",
            "cli/test_options.py::test_no_command_takes_a_key",
        ),
        (),
        of(
            SECURITY,
            "Without `TOWERLOG_API_KEY`, commands",
            "It is sent to the server of that store",
            "A command looks once, when it starts.",
            "A key file that others may read is refused.",
            "There is no flag for a key.",
        ),
    ),
    Promise(
        "Text of agents cannot talk to a terminal, and log lines cannot be forged.",
        (
            "cli/test_untrusted.py::test_nothing_that_moves_the_cursor_gets_through",
            "cli/test_tail.py::test_a_delta_cannot_talk_to_the_terminal",
            "test_server.py::test_the_log_is_json_in_lines",
            "asgi/process/test_logs.py::test_each_line_is_an_object",
            "asgi/process/test_logs.py::test_nothing_that_is_told_makes_a_line_or_moves_a_cursor",
            "cli/test_serve.py::test_a_key_is_kept_out_of_the_journal",
        ),
        (),
        of(SECURITY, "Text of agents and models is shown", "One JSON object a line"),
    ),
    Promise(
        "Browsers: no CORS unless pages are named, and only local names on loopback.",
        (
            "asgi/guard/test_cors.py::test_no_other_page_is",
            "asgi/guard/test_hosts.py::test_loopback_answers_to_local_names_alone",
        ),
        (),
        of(SECURITY, "CORS is off.", "Requests on loopback are accepted only"),
    ),
)

BOUNDS = (
    Promise(
        "No input makes a 5xx, and limits come before work.",
        (
            "acceptance/test_openapi_fuzz.py::test_no_request_breaks_the_server",
            "acceptance/test_body_fuzz.py::test_a_body_that_is_spoilt_in_one_place_is_taken_or_refused",
            "acceptance/test_limits.py::test_a_compressed_bomb_is_413_and_costs_no_memory",
            "asgi/test_inflate.py::test_a_bomb_dies_before_it_swells",
            "acceptance/test_limits.py::test_depth_is_limited_where_the_page_says",
            "acceptance/test_steps_wire.py::test_every_wrong_field_is_named_at_once",
        ),
        (),
        of(SECURITY, "Limits are checked before work is done", "What is malformed is answered"),
    ),
    Promise(
        "What is sent is data: nothing but JSON is parsed, nothing is evaluated, and SQL is parameterised.",
        (
            "asgi/test_sent_data.py::test_a_body_that_is_not_json_is_not_read",
            "asgi/test_sent_data.py::test_no_statement_holds_what_was_sent",
            "tidy/test_tree.py::test_source",
        ),
        (),
        of(SECURITY, "Nothing but JSON is parsed"),
    ),
    Promise(
        "Limits of rate are exact and cannot be dodged.",
        (
            "asgi/guard/test_limits.py::test_in_no_minute_are_more_let_through",
            "asgi/guard/test_limits.py::test_a_burst_at_the_edge_of_a_minute_gets_no_second_helping",
            "asgi/guard/test_addresses.py::test_past_a_trusted_proxy_the_right_most_stranger_counts",
            "asgi/guard/test_addresses.py::test_local_is_what_certainly_comes_from_here",
        ),
        (),
        of(SECURITY, "Rate limits are true sliding windows.", "`X-Forwarded-For` is used only"),
    ),
    Promise(
        "Nobody takes the whole: of bytes, connections, streams and the queue each has a share.",
        (
            "asgi/guard/test_ledger.py::test_no_key_has_the_whole_and_no_organisation",
            f"{HOSTILE}::test_a_key_with_bodies_in_hand_leaves_room_for_the_others",
            f"{HOSTILE}::test_bodies_that_are_only_declared_take_nothing_from_others",
            f"{HOSTILE}::test_one_address_does_not_take_all_connections",
            f"{PHASES}::test_bytes_count_as_they_come_and_not_as_they_are_declared",
        ),
        (),
        of(SECURITY, "Bytes in hand, connections, streams", "Bytes count as they arrive"),
    ),
    Promise(
        "Every phase of a connection has a deadline and a size; who reads nothing is cut off and harms nobody.",
        (
            f"{PHASES}::test_a_body_that_drips_is_given_up_and_its_connection_ends",
            f"{PHASES}::test_what_still_comes_after_the_last_reply_has_a_bound",
            f"{PHASES}::test_who_takes_nothing_of_a_reply_is_cut_off",
            "acceptance/test_streams.py::test_a_reader_that_does_not_read_harms_nobody",
        ),
        (),
        of(SECURITY, "Every phase of a connection", "A reader that takes nothing is cut off"),
    ),
    Promise(
        "Rows, pages, caches and commits are bounded in bytes, and no request blocks the loop for long.",
        (
            "acceptance/test_bounds_in_bytes.py::test_a_row_is_bounded_whatever_is_told_of_its_run",
            "acceptance/test_bounds_in_bytes.py::test_a_list_ends_a_page_by_its_size",
            f"{BLOCKS}::test_a_hostile_body",
            f"{BLOCKS}::test_the_cancel_of_a_large_family",
            "asgi/process/test_loop_watch.py::test_work_on_the_loop_is_a_block",
            "asgi/guard/test_pace.py::test_bodies_whose_last_bytes_come_at_once_are_decoded_in_turns",
            f"{HOSTILE}::test_pages_behind_a_page_that_nobody_reads_are_not_built",
        ),
        (),
        of(
            SECURITY,
            "Rows, pages, caches and commits are bounded",
            "Packets, bodies and replies of many connections",
            "No single request keeps the server from others",
            "Tests on a running server hold it to that",
        ),
    ),
    Promise(
        "What two servers could understand differently is refused.",
        (
            f"{HOSTILE}::test_an_ambiguous_request_is_refused",
            f"{PHASES}::test_trailers_are_no_headers",
            "asgi/test_connection.py::test_what_is_no_request_is_refused_after_the_reply_to_the_one_before_it",
        ),
        (),
        of(SECURITY, "What two servers on one way", "Trailers are dropped.", "A refusal of a pipelined request"),
    ),
)

SENDERS = (
    Promise(
        "The SDK sends its key to one address, and nothing that a server answers breaks a program.",
        (
            "sdk/wire/test_http.py::test_a_redirect_is_refused_and_the_key_goes_nowhere_else",
            "sdk/test_strangers.py::test_a_reply_without_end_is_given_up",
            "sdk/test_strangers.py::test_what_leaves_the_sdk_is_an_error_of_its_own",
            "sdk/test_strangers.py::test_a_refusal_is_told_on_one_line_that_controls_nothing",
            "sdk/api/test_annotations.py::test_every_field_of_a_type_is_checked",
        ),
        (),
        of(
            SECURITY,
            "It sends its key to the configured address alone",
            "Replies, lines and frames are bounded",
            "What cannot be read, down",
            "A server's words reach logs",
        ),
    ),
    Promise(
        "An outage costs the SDK nothing and its program no exception; what it keeps is its owner's alone.",
        (
            "sdk/record/test_recorder.py::test_an_outage_loses_nothing_and_doubles_nothing",
            "sdk/record/test_recorder.py::test_no_argument_makes_it_raise",
            "sdk/record/test_recorder.py::test_a_killed_program_loses_nothing_that_had_left_its_memory",
            "sdk/test_strangers.py::test_a_spool_line_that_cannot_be_sent_is_set_aside_and_the_rest_goes_on",
            "sdk/test_strange_files.py::test_a_link_among_the_files_is_left_alone",
            "sdk/test_strange_files.py::test_listing_spools_waits_for_no_pipe_and_takes_no_lock_that_is_none",
            "sdk/test_strangers.py::test_a_spool_and_all_that_is_made_above_it_is_for_its_owner_alone",
            "sdk/record/backlog/test_destination.py::test_the_note_in_a_spool_holds_no_secret",
            "sdk/work::test_each_event_is_a_line_with_its_reason",
            "sdk/work::test_arguments_can_be_kept_back",
        ),
        (),
        of(
            SECURITY,
            "Events that cannot be delivered yet",
            "Links and pipes in these folders",
            "A worker keeps what it could not report",
            "Neither holds a key.",
            "`towerlog exec` tells a command's arguments",
        )
        + of(README, "Reporting never raises into your program"),
    ),
)

PROMISES: dict[str, tuple[Promise, ...]] = {
    "What is stored stays": DURABLE,
    "What is read is what was written": WHOLE,
    "Order, holders and time": ORDER,
    "Who may do what": ACCESS,
    "Bounds": BOUNDS,
    "Senders": SENDERS,
}
"""Heading → rows."""

NO_PROMISE = ("The figures are in [Limits]",)
"""Sentences of SECURITY, "What is in place", that promise nothing by themselves."""
