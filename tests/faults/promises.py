"""What is promised, which test shows it, and which planted fault that test finds; `docs/operate/promises.md` is made of
this table, and `test_promises.py` holds it against the tests and against what README and SECURITY say.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.faults.planted import FAULTS

README, SECURITY = "README.md", "SECURITY.md"
DEPLOY, LIMITS, BACKUP = "docs/operate/deploy.md", "docs/operate/limits.md", "docs/operate/backup.md"
DISK, FULL, READS = "faults/test_failing_disk.py", "faults/test_full_disk.py", "faults/test_rotten_reads.py"
READ_ONLY, COPIES = "faults/test_read_only.py", "faults/test_failing_copies.py"
STARTS, REPLACING = "faults/test_starts.py", "faults/test_replacing.py"
ORDER = "faults/test_out_of_order.py"
STOPS = "faults/test_stops_within_starts.py"
TORN, VERIFY = "faults/test_torn_copies.py", "faults/test_verify_and_rebuild.py"
LOST_ROWS = "faults/test_lost_rows.py"
CALLS, KILLS, LONG = "faults/test_failing_calls.py", "faults/test_placed_kills.py", "faults/test_long_readers.py"
AGE = "engine/erasure/test_age_clock.py"
UNHEARD, STILL = "faults/test_unheard_time.py", "faults/test_standstill.py"
SEEDS, TELEMETRY = "simulation/test_simulation.py", "simulation/test_telemetry.py"
SPENDERS = "simulation/test_money.py"
RIGHTS, TENANCY, KEYS = (
    "acceptance/test_rights.py",
    "acceptance/test_tenancy_matrix.py",
    "acceptance/test_keys_and_orgs.py",
)
SIGN_IN, BY_PROVIDER = "acceptance/test_sign_in.py", "acceptance/test_sign_in_by_provider.py"
TOKENS = "asgi/pages/sign_in/test_provider.py"
MESSAGES, AUTOMATIC = "acceptance/test_told_answers.py", "engine/audit/test_automatic.py"
PAGE_OF_NODES = "docs/operate/nodes.md"
PAGE_OF_AUDIT = "docs/concepts/audit.md"
PAGE_OF_RETENTION, ERASURE = "docs/concepts/retention.md", "acceptance/test_retention.py"
SHARED, BY_SIZE = "engine/erasure/test_shared_content.py", "engine/erasure/test_by_size.py"
AUDIT, ACTS = "acceptance/test_audit.py", "engine/commands/acts/test_acts.py"
BUDGETS, SPENDING = "acceptance/test_budgets.py", "engine/reactions/test_budgets.py"
ALERTS, FIRING, SENDING, TIMED = (
    "acceptance/test_alerts.py",
    "engine/alerts/test_reactions.py",
    "engine/timers/messages/test_sender.py",
    "engine/timers/rules/test_watch.py",
)
PAGE_OF_ALERTS = "docs/concepts/alerts.md"
PAGE_OF_BUDGETS = "docs/concepts/budgets.md"
PAGE_OF_PRICES, COMPUTED = "docs/concepts/prices.md", "projections/test_computed_costs.py"
OWN, ANEW = "engine/pricing/test_own_prices.py", "engine/repricing/test_reprice.py"
INBOX, LINKS, EXPIRY = (
    "acceptance/test_approvals.py",
    "acceptance/test_answer_links.py",
    "engine/timers/test_approvals.py",
)
PAGE_OF_APPROVALS = "docs/concepts/approvals.md"
LIVE, WATCHING = "acceptance/test_live.py", "engine/live/test_watching.py"
URLS, POSTS, MAIL = "egress/test_hostile_urls.py", "egress/test_http.py", "egress/mail/test_mailer.py"
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
            "store/sqlite/connections/test_connection.py::test_opening_commits_nothing_behind_a_log_that_may_not_be_on_disk",
            f"{STARTS}::test_a_command_appends_nothing_to_what_a_failed_sync_has_lost",
            f"{STARTS}::test_no_log_is_written_again_while_another_process_writes_to_it",
            "faults/test_stuck_log.py::test_after_a_failed_sync_the_process_ends_at_once_though_nobody_reads_its_log",
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
            f"{FULL}::test_the_largest_size_of_a_file_is_told_as_a_full_disk",
            "store/test_trouble.py::test_refused_writes_are_told_when_they_begin_and_when_they_end",
            f"{FULL}::test_twenty_rounds_of_a_disk_that_fills_lose_nothing",
            f"{FULL}::test_a_start_on_a_full_disk_says_so",
            f"{CALLS}::test_each_error_of_each_call_passes_or_is_final",
            f"{CALLS}::test_what_takes_one_for_the_other_is_found",
            f"{CALLS}::test_a_start_that_cannot_open_a_file_says_so_and_costs_nothing",
            f"{CALLS}::test_a_first_start_that_cannot_sync_its_folder_says_so",
            f"{FULL}::test_a_command_on_a_full_disk_says_so",
            f"{FULL}::test_a_command_on_a_read_only_disk_says_so",
            "faults/test_small_blocks.py::test_room_is_looked_for_where_blocks_are_small_alone",
            "faults/test_small_blocks.py::test_a_first_start_without_room_for_the_index_says_so",
        ),
        ("checkpoint_remembered", "no_room_is_final"),
        of(LIMITS, "No restart is needed once there is room.", "A write that finds no room"),
    ),
    Promise(
        "A store can be checked and saved from a disk that nobody can write to any more.",
        (
            f"{READ_ONLY}::test_a_store_that_was_closed_is_checked_and_saved_from_a_read_only_disk",
            f"{READ_ONLY}::test_a_store_that_was_not_closed_is_saved_with_its_log",
            f"{READ_ONLY}::test_a_closed_store_of_another_user_is_checked_and_saved",
            f"{READ_ONLY}::test_what_is_read_while_its_server_starts_counts_for_nothing",
            f"{READ_ONLY}::test_the_store_of_another_users_server_is_told_as_his",
            f"{COPIES}::test_a_copy_that_cannot_be_read_back_is_not_called_wrong",
        ),
        (),
        of(BACKUP, "`backup` and `verify` need not write beside the store."),
    ),
    Promise(
        "Below the guard writes are refused before the disk is full; reads and deletes go on.",
        (
            "engine/commit/test_disk_guard.py::test_a_key_that_is_revoked_below_the_guard_ends_no_outage",
            f"{FULL}::test_the_guard_refuses_writes_and_nothing_else",
            "cli/test_maintenance.py::test_a_backup_takes_nothing_of_what_the_servers_writes_leave_free",
            "store/test_space.py::test_it_is_low_below_the_guard",
            "store/test_space.py::test_a_setting_counts_alone_and_else_the_larger_bound",
            "engine/commit/test_disk_guard.py"
            "::test_what_waits_when_the_room_becomes_little_is_refused_and_keys_are_revoked",
        ),
        (),
        of(LIMITS, "Reads, streams, the revoking of keys and the deleting of old replies go on"),
    ),
    Promise(
        "A store that fills its own disk comes back: what was committed has room, and so has what makes room.",
        (
            f"{FULL}::test_a_store_that_fills_its_own_disk_goes_on_deleting",
            "store/sqlite/connections/test_transaction.py::test_what_was_committed_has_room_in_the_database",
            "store/sqlite/connections/test_transaction.py::test_what_makes_room_goes_on_where_all_else_is_refused",
            "store/sqlite/connections/test_transaction.py::test_what_had_no_room_takes_none",
            "store/sqlite/connections/test_connection.py::test_where_little_room_is_left_the_log_is_short",
            "store/sqlite/erasure/test_reclaim.py::test_pages_are_given_back_within_the_room_of_one_step",
            "engine/erasure/test_retention.py::test_pages_go_back_at_once_where_the_disk_is_nearly_full",
        ),
        (),
        of(LIMITS, "What the write-ahead log has still to move into the database counts as taken"),
    ),
    Promise(
        "The write-ahead log never takes more than 256 MiB, whoever reads.",
        (
            f"{FULL}::test_a_reader_that_stands_still_holds_writes_up_before_the_log_is_long",
            f"{FULL}::test_a_log_without_a_bound_is_found",
            f"{FULL}::test_the_log_stays_below_its_bound_beside_a_reader_that_stands_still",
            "store/sqlite/connections/test_connection.py::test_the_wal_stays_bounded_under_a_load_of_writing",
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
            "faults/test_exhausted.py::test_a_server_that_may_start_no_thread_goes_on_with_everything",
            "faults/test_exhausted.py::test_a_server_without_any_descriptor_ends_in_order",
            "faults/test_failing_disk.py::test_a_log_that_cannot_be_cut_at_the_stop_loses_nothing",
            f"{FULL}::test_a_stop_waits_for_no_sync_that_does_not_end",
            "asgi/process/test_workers.py::test_a_child_that_stands_is_killed_when_the_stop_is_over",
            "cli/test_serve.py::test_with_standard_files_that_are_closed_it_serves_and_its_key_is_not_lost",
            "asgi/process/test_workers.py::test_a_second_signal_ends_a_child_that_stands_at_once",
            f"{STOPS}::test_a_first_start_that_is_told_to_stop_ends_in_order_and_its_key_is_told",
            f"{STOPS}::test_a_start_whose_disk_stands_still_ends_within_the_deadline",
            f"{STOPS}::test_from_its_first_moment_on_a_signal_ends_a_server_with_0",
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
            f"{READS}::test_a_page_that_the_disk_does_not_hand_out_is_told_as_that_and_not_as_damage",
            "store/sqlite/connections/test_read_errors.py::test_a_read_that_failed_is_told_as_that",
            "store/sqlite/connections/test_read_errors.py::test_a_read_that_failed_before_hides_no_damage",
            "store/test_damage.py::test_failed_reads_are_logged_when_they_begin_and_when_they_are_over",
            "faults/test_moved_files.py::test_a_folder_that_is_moved_away_is_told_as_that_and_not_as_a_full_disk",
            f"{READS}::test_what_stands_behind_an_event_that_is_gone_is_not_served_unchecked",
            "model/test_chain.py::test_every_field_is_covered",
            f"{READS}::test_a_page_that_is_gone_costs_what_lay_on_it",
            f"{ORDER}::test_events_that_an_index_has_and_the_table_does_not_are_named_and_not_looked_for_again",
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
            f"{ORDER}::test_a_walk_that_is_led_back_ends_and_names_the_table_and_the_place",
            "store/columns/test_order.py::test_no_paged_question_is_left_out",
            "engine/test_verify.py::test_a_clock_before_1970_makes_no_difference",
            "contract/test_settings.py::test_a_changed_digit_is_told_with_its_row_field_and_entry",
            "contract/test_settings.py::test_what_is_secret_is_held_against_the_digest_that_was_told",
            f"{VERIFY}::test_a_flipped_bit_in_what_the_store_keeps_for_itself_is_named",
            "contract/test_settings.py::test_what_was_put_in_or_taken_out_is_told",
            "contract/test_settings.py::test_what_is_set_while_it_is_read_is_no_difference",
            "store/postgres/upkeep/test_verify_beside_servers.py"
            "::test_what_goes_with_an_organisation_that_is_removed_meanwhile_is_no_difference",
            "store/postgres/upkeep/test_verify_beside_servers.py"
            "::test_an_organisation_that_goes_after_it_was_listed_is_no_lost_removal",
            f"{VERIFY}::test_a_rebuild_works_whatever_else_is_damaged",
            f"{VERIFY}::test_a_message_that_is_not_there_is_named_and_so_it_is_by_the_rebuild_that_cannot_mend_it",
        ),
        (),
        of(SECURITY, "`towerlog verify` walks all of it"),
    ),
    Promise(
        "What people had set and a damaged page has lost is settled by `rebuild`, in the audit: then `backup` works.",
        (
            f"{LOST_ROWS}::test_keys_whose_page_is_lost_are_gone_and_it_is_told_how_to_get_in_again",
            f"{LOST_ROWS}::test_members_whose_page_is_lost_are_there_again",
            f"{LOST_ROWS}::test_organisations_whose_page_is_lost_are_there_again_and_no_start_takes_their_place",
            f"{LOST_ROWS}::test_an_organisation_that_is_lost_is_named_at_the_start_and_so_is_the_name_that_another_has",
            "contract/test_lost_rows.py::test_an_organisation_whose_name_another_has_by_now_says_so",
            "cli/test_maintenance_on_postgres.py"
            "::test_a_server_says_which_organisation_is_lost_and_a_rebuild_brings_it_back",
            "cli/test_migrate.py::test_a_store_that_has_lost_rows_is_refused_before_anything_is_moved",
            f"{LOST_ROWS}::test_names_of_members_whose_page_is_lost_are_kept_again",
            f"{LOST_ROWS}::test_the_removal_of_an_organisation_that_is_lost_goes_on",
            "contract/test_lost_rows.py::test_an_audit_whose_chain_does_not_hold_ends_no_organisation",
            "contract/test_lost_rows.py::test_a_lost_key_is_gone_and_the_audit_says_so",
            "contract/test_lost_rows.py::test_what_the_audit_holds_all_of_is_made_anew",
            "contract/test_lost_rows.py::test_an_organisation_whose_own_row_is_lost_is_there_again",
            "contract/test_lost_rows.py::test_what_the_audit_holds_a_part_of_is_gone",
            "contract/test_lost_rows.py::test_a_budget_that_is_made_anew_holds_what_is_reserved_of_it",
            "contract/test_lost_rows.py::test_runs_that_a_lost_budget_has_paused_go_on_once_it_is_there_again",
            "contract/test_lost_tables.py::test_what_is_lost_is_told_and_mended_as_it_is_known",
            "contract/test_lost_tables.py::test_a_run_whose_lane_is_lost_is_claimed_as_before",
            "contract/test_lost_tables.py::test_an_erasure_whose_row_is_lost_goes_on",
            "contract/test_lost_tables.py::test_a_persona_that_is_lost_is_told_and_may_be_made_again",
            "contract/test_lost_rows.py::test_runs_of_a_budget_that_stays_away_are_asked_to_go_on",
            "contract/test_lost_rows.py::test_a_budget_that_has_forgotten_what_it_has_paused_is_found",
            "contract/test_lost_rows.py::test_a_reservation_that_is_lost_is_found_and_held_no_more",
        ),
        (),
        of(BACKUP, "Where a damaged page has taken rows that people had set"),
    ),
    Promise(
        "A restore or rebuild that SIGTERM or Ctrl-C ends leaves no copy, and the store as it was.",
        (
            "cli/test_signals.py::test_one_that_is_ended_leaves_no_copy_and_the_store_as_it_was",
            "cli/test_signals.py::test_a_second_signal_breaks_off_nothing_that_the_first_has_begun",
            "cli/test_signals.py::test_one_that_is_ended_before_its_work_begins_says_no_more_than_that",
            "cli/test_signals.py::test_one_that_puts_the_copy_there_is_not_broken_off",
        ),
        (),
        of(BACKUP, "One that SIGTERM or Ctrl-C ends leaves none"),
    ),
    Promise(
        "Files that do not belong together are refused, and a restore is one command; old cursors get a gap.",
        (
            "store/sqlite/upkeep/test_matching_files.py::test_a_header_that_rots_before_acknowledged_frames_is_told_whichever_bit_it_is",
            "store/sqlite/upkeep/test_matching_files.py::test_a_reader_who_comes_at_any_moment_of_a_renewal_hides_no_missing_log",
            f"{TORN}::test_a_database_without_its_log_is_refused",
            f"{TORN}::test_the_log_of_another_database_is_refused",
            f"{TORN}::test_a_log_that_is_damaged_where_it_was_moved_hides_nothing_of_the_database",
            f"{TORN}::test_a_log_that_fits_the_database_no_more_is_told_from_one_of_another",
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
            "engine/commands/test_long_histories.py::test_a_base_that_comes_after_the_long_history_refuses_that_alone",
            "engine/ingest/test_content.py::test_a_list_of_metas_is_no_base",
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
        (
            "engine/control/test_cancel.py::test_a_child_that_is_born_meanwhile_is_cancelled_however_its_parent_ends",
            "engine/control/test_cancel.py::test_a_run_that_is_linked_below_a_cancelled_one_ends_with_what_stands_below_it",
            f"{SEEDS}::test_no_mutant_lives",
            "acceptance/test_runs_control.py::test_many_cancels_at_once_end_a_run_once",
        ),
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
        of(DEPLOY, "Only time in which no request could be received and stored is left out."),
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
            f"{FIRING}::test_a_cool_down_lasts_as_long_however_the_clock_is_set",
            f"{TIMED}::test_people_are_told_again_after_as_long_however_the_clock_is_set",
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
    Promise(
        "A log that nobody reads holds up neither requests nor the end of the process; what it loses is counted.",
        (
            "faults/test_stuck_log.py::test_requests_and_an_orderly_end_do_not_wait_for_who_reads_the_log",
            "asgi/process/test_logs.py::test_who_logs_does_not_wait_for_who_reads_and_what_has_no_room_is_counted",
            "asgi/process/test_logs.py::test_an_end_does_not_wait_for_a_log_that_nobody_reads",
        ),
        (),
        of(DEPLOY, "A log that nobody reads, such as a pipe"),
    ),
    Promise(
        "A wall clock that is wrong, before a start or after it, ahead or behind, deletes nothing.",
        (
            f"{AGE}::test_a_clock_set_ahead_while_the_server_runs_erases_nothing",
            f"{AGE}::test_a_start_with_a_clock_that_is_ahead_erases_nothing_however_often",
            f"{AGE}::test_what_ended_while_the_clock_was_behind_is_not_taken_for_old",
            f"{AGE}::test_the_hourly_sweeps_go_by_the_same_clock",
            f"{AGE}::test_a_machine_that_sleeps_most_of_the_day_keeps_up",
            f"{STILL}::test_a_real_clock_that_is_ahead_erases_nothing",
            "cli/test_doctor.py::test_a_clock_that_holds_deletion_back_is_told",
            "contract/test_restart.py::test_the_age_clock_is_kept",
        ),
        (),
        of(DEPLOY, "A clock that is wrong deletes nothing."),
    ),
    Promise(
        "An operator confirms one clock: what that said is followed at once, and no other clock, nor further than it.",
        (
            f"{AGE}::test_a_clock_that_is_confirmed_is_followed_by_the_next_sweep",
            f"{AGE}::test_a_clock_that_was_confirmed_without_a_server_is_followed_by_its_start",
            f"{AGE}::test_a_confirm_counts_for_no_clock_that_was_set_since",
            f"{AGE}::test_a_confirm_that_was_not_needed_is_worth_nothing_later",
            f"{AGE}::test_a_confirm_leads_no_further_than_the_clock_that_was_confirmed",
            f"{AGE}::test_a_confirm_of_a_clock_that_is_behind_erases_nothing",
            f"{STILL}::test_a_real_clock_that_is_confirmed_is_followed_and_no_other",
            "contract/test_restart.py::test_the_word_of_an_operator_about_the_clock_is_kept",
            "cli/test_clock.py::test_it_says_what_is_deleted_and_deletes_nothing_unless_it_is_told_so",
            "cli/test_clock.py::test_a_server_that_runs_takes_it_and_the_audit_has_it",
            "cli/test_clock.py::test_the_next_start_takes_it",
            "cli/test_clock.py::test_a_clock_that_is_set_while_it_asks_is_not_confirmed",
        ),
        (),
        of(DEPLOY, "A confirmation ends after an hour in which no server took it, or when the clock is set again."),
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
        "A session is a cookie that no script reads; it ends when it is ended, with its streams.",
        (
            "contract/test_members.py::test_a_session_is_what_a_key_of_its_member_would_be",
            "engine/commands/test_members.py::test_a_removal_leaves_no_session_and_no_link",
            "engine/commands/test_members.py::test_of_two_who_use_a_link_in_one_group_one_gets_in",
            "acceptance/test_sign_in.py::test_live_push_ends_with_the_member",
            f"{SIGN_IN}::test_the_first_start_prints_a_link_that_signs_in_once",
            f"{SIGN_IN}::test_a_session_is_kept_where_no_script_reads_it",
            f"{SIGN_IN}::test_a_session_by_tls_is_for_this_host_alone",
            f"{SIGN_IN}::test_a_member_sets_a_password_and_signs_in_by_it",
            f"{SIGN_IN}::test_a_screen_goes_by_the_session_and_ends_with_it",
            f"{SIGN_IN}::test_an_admin_ends_all_sessions_of_a_member",
            "asgi/guard/test_auth.py::test_a_session_is_good_until_it_expires",
            "asgi/pages/sign_in/test_sessions.py::test_a_session_is_over_when_nobody_uses_it",
            "asgi/pages/sign_in/test_sessions.py::test_no_session_is_longer_than_two_weeks_however_much_it_is_used",
            f"{SIGN_IN}::test_a_member_sees_its_own_sessions_and_ends_one",
            f"{SIGN_IN}::test_an_admin_sees_and_ends_the_sessions_of_all",
        ),
        (),
        of(SECURITY, "Members sign in by a link", "A session is a cookie that no script", "It ends with a sign-out"),
    ),
    Promise(
        "A sign-in link ends with who made it and with its member's sessions, and replaces no session unasked.",
        (
            "engine/commands/test_members.py::test_a_link_that_ends_in_the_very_group_signs_nobody_in",
            f"{SIGN_IN}::test_a_link_ends_with_the_member_who_has_made_it",
            f"{SIGN_IN}::test_a_link_ends_with_the_key_that_has_made_it",
            f"{SIGN_IN}::test_a_link_ends_with_all_that_lets_its_member_in",
            "acceptance/ui/test_signing_in.py::test_who_is_signed_in_stays_until_a_click_says_otherwise",
        ),
        (),
        of(SECURITY, "A link is worth nothing once the key or", "A link that is opened where somebody"),
    ),
    Promise(
        "No page of another site acts in a person's name.",
        (f"{SIGN_IN}::test_no_page_of_another_site_acts_in_a_persons_name",),
        (),
        of(SECURITY, "A request by cookie that changes something"),
    ),
    Promise(
        "Whether somebody is a member is not told, and passwords are guessed slowly.",
        (
            f"{SIGN_IN}::test_who_is_a_member_is_not_told",
            f"{SIGN_IN}::test_guessing_is_slow_whether_the_member_is_there_or_not",
            "asgi/pages/sign_in/test_passwords.py::test_nobodys_password_is_checked_like_anybodys",
        ),
        (),
        of(SECURITY, "Whether a member is there is not told"),
    ),
    Promise(
        "An identity provider vouches for the sign-in that a browser has begun, and lets in members alone.",
        (
            "asgi/pages/sign_in/test_provider.py::test_who_begins_costs_the_provider_no_request",
            "acceptance/test_sign_in_by_provider.py::test_who_was_removed_stays_out_until_made_a_member_again",
            f"{BY_PROVIDER}::test_a_member_is_known_by_its_address_and_from_then_on_by_its_subject",
            f"{BY_PROVIDER}::test_nobody_else_gets_in_unless_the_settings_say_so",
            f"{BY_PROVIDER}::test_what_another_browser_has_begun_signs_nobody_in",
            f"{TOKENS}::test_a_browser_is_sent_with_a_challenge_and_never_with_the_verifier",
            f"{TOKENS}::test_a_token_that_is_not_of_this_sign_in_is_refused",
            f"{TOKENS}::test_a_token_of_another_key_is_refused",
            f"{TOKENS}::test_a_token_without_a_signature_is_refused",
            f"{TOKENS}::test_an_address_counts_when_it_is_verified",
        ),
        (),
        of(SECURITY, "An identity provider's word counts"),
    ),
    Promise(
        "A session is no API key, and every sign-in is in the audit.",
        (
            f"{SIGN_IN}::test_a_session_is_no_key_and_a_key_is_no_session",
            f"{SIGN_IN}::test_each_act_of_a_member_has_its_entry",
        ),
        (),
        of(SECURITY, "A session is no API key", "Every sign-in, sign-out and link"),
    ),
    Promise(
        "Only the key that holds a run can change it, and the run's commands go only to that key.",
        (
            "engine/commands/test_telemetry_of_others.py::test_what_an_agent_spends_stays_under_its_own_model_whatever_strangers_call",
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
            "store/test_server_address.py::test_what_a_dead_server_wrote_counts_for_nothing",
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
            "cli/test_escapes.py::test_nothing_that_moves_the_cursor_gets_through",
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
        of(
            SECURITY,
            "CORS is off.",
            "A server that listens on loopback alone",
            "One that listens on other addresses too",
        ),
    ),
    Promise(
        "The dashboard runs no script but its own, and no text becomes markup.",
        ("asgi/pages/dashboard/test_screens.py::test_a_browser_gets_the_page_at_every_path",),
        (),
        of(SECURITY, "The dashboard comes from this server alone"),
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
        "A body that takes seconds to decode keeps no other organisation's waiting for it.",
        (
            "asgi/guard/test_decoding.py::test_a_body_is_decoded_before_a_longer_one_that_came_first",
            "asgi/guard/test_decoding.py::test_large_bodies_are_decoded_one_by_one_and_others_beside_them",
            "asgi/shares/test_threads.py::test_what_is_short_is_done_before_what_is_long_and_was_first",
            "asgi/shares/test_threads.py::test_one_goes_on_at_a_time_and_each_has_its_turn",
            "dialects/otlp/test_masks.py::test_others_may_go_on_between_the_places_of_a_long_text",
            "acceptance/test_turns_of_organisations.py::test_a_body_that_takes_long_to_decode_does_not_delay_another_organisation",
        ),
        (),
        of(LIMITS, "A body that takes seconds is decoded in pieces"),
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
            "asgi/pages/sign_in/test_passwords.py::test_hashes_of_one_organisation_leave_a_core_to_others",
            "asgi/pages/sign_in/test_places.py::test_who_has_as_many_waiting_as_may_wait_is_told_to_come_again",
            "asgi/pages/sign_in/test_places.py::test_who_goes_away_while_it_waits_leaves_its_place",
            "asgi/pages/sign_in/test_provider.py::test_sign_ins_ask_the_provider_in_turns_with_a_share_for_each_address",
            "acceptance/test_push.py::test_sockets_and_streams_share_their_places",
            "engine/commands/test_quotas.py::test_a_key_and_an_organisation_make_so_many_and_no_more",
            "engine/repricing/test_reprice.py::test_an_organisation_has_its_costs_computed_once_at_a_time",
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
        "When all is used up, who holds most gives way, and nobody is refused who stays within an equal part.",
        (
            "asgi/shares/test_law.py::test_who_holds_less_than_the_fair_part_is_never_refused",
            "asgi/shares/test_law.py::test_two_that_have_all_leave_a_third_its_part",
            "asgi/shares/test_turns.py::test_two_that_want_all_leave_some_for_whoever_comes",
            "engine/commit/test_queue.py::test_an_organisation_with_fewer_commands_than_its_part_is_never_refused",
            "acceptance/test_who_holds_most.py::test_two_organisations_that_fill_all_bytes_leave_a_third_its_part",
            "acceptance/test_who_holds_most.py::test_connections_without_a_key_leave_places_for_those_who_have_one",
            "acceptance/test_who_holds_most.py::test_of_callers_without_a_key_the_fullest_address_makes_place",
            "engine/commit/test_queue.py::test_when_the_queue_is_full_the_organisation_that_has_most_in_it_gives_way",
        ),
        (),
        of(SECURITY, "When several together have used all of it up", "Callers without a key count as one organisation"),
    ),
    Promise(
        "Every phase of a connection has a deadline and a size; who reads nothing is cut off and harms nobody.",
        (
            "engine/follow/test_listener.py::test_a_reader_that_raises_keeps_no_other_from_being_told",
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
            "asgi/guard/test_auth.py::test_the_memory_is_bounded",
            "engine/pricing/test_own_prices.py::test_what_is_remembered_of_names_is_bounded_in_bytes",
            "acceptance/test_bounds_in_bytes.py::test_a_row_is_bounded_whatever_is_told_of_its_run",
            "projections/test_runs.py::test_a_call_whose_id_is_very_long_is_open_until_its_result_like_any_other",
            "acceptance/test_bounds_in_bytes.py::test_a_list_ends_a_page_by_its_size",
            f"{BLOCKS}::test_a_hostile_body",
            f"{BLOCKS}::test_the_cancel_of_a_large_family",
            "asgi/process/test_loop_watch.py::test_work_on_the_loop_is_a_block",
            "asgi/guard/test_pace.py::test_bodies_whose_last_bytes_come_at_once_are_decoded_in_turns",
            "asgi/guard/test_pace.py::test_however_many_strangers_put_off_nobody_who_has_shown_a_key",
            "asgi/guard/test_pace.py::test_of_a_body_in_chunks_nothing_is_read_before_it_is_wanted",
            "asgi/push/test_outflow.py::test_what_one_commit_brings_to_all_goes_out_in_turns",
            "acceptance/test_push_frames.py::test_frames_on_many_sockets_at_once_are_heard_in_turns",
            "acceptance/test_push_frames.py::test_sockets_of_one_address_are_bounded_together_and_those_of_a_key_by_themselves",
            f"{HOSTILE}::test_pages_behind_a_page_that_nobody_reads_are_not_built",
            "engine/queries/screens/test_outlines.py::test_those_who_ask_at_once_are_told_the_same_and_no_event_counts_twice",
        ),
        (),
        of(
            SECURITY,
            "Rows, pages, caches and commits are bounded",
            "Packets, bodies, replies and frames of many connections",
            "What goes out to all who follow one run",
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
            "sdk/record/backlog/test_buffer.py::test_of_a_group_that_meets_a_full_disk_what_has_room_is_kept",
            "sdk/test_strangers.py::test_a_spool_line_that_cannot_be_sent_is_set_aside_and_the_rest_goes_on",
            "sdk/test_strange_files.py::test_what_another_user_has_put_into_a_spool_is_not_sent",
            "sdk/record/backlog/test_own_files.py::test_what_is_no_file_of_this_user_alone_is_not_opened",
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

OUTWARD = (
    Promise(
        "Only public addresses are posted to, by URLs of one form, and the checked address is the one connected to.",
        (
            f"{URLS}::test_no_hostile_url_opens_a_connection",
            f"{URLS}::test_what_is_open_reaches_the_listener_once_everything_is_allowed",
            f"{URLS}::test_a_name_that_changes_its_address_is_connected_to_at_the_checked_one",
            f"{URLS}::test_of_a_mixed_answer_nothing_is_connected_to",
            f"{URLS}::test_what_the_operator_lets_through",
            f"{URLS}::test_this_machines_own_addresses_are_refused_whatever_they_are",
            "egress/test_addresses.py::test_what_an_address_is_has_a_name_and_a_source",
            "egress/test_addresses.py::test_nothing_is_open_that_python_does_not_take_for_global",
            "egress/test_targets.py::test_other_readers_see_the_host_and_the_port_that_we_see",
            "tidy/test_tree.py::test_source",
        ),
        (),
        of(
            SECURITY,
            "Messages of alert rules, to their receivers",
            "URLs of webhooks are read in one strict form",
            "The address that was checked is the one",
        ),
    ),
    Promise(
        "A post follows nothing, takes nothing from the environment, and its answer is bounded in bytes and time.",
        (
            f"{POSTS}::test_no_redirect_is_followed",
            f"{POSTS}::test_nothing_of_the_environment_has_a_part_in_it",
            f"{POSTS}::test_no_connection_and_no_cookie_is_kept",
            f"{POSTS}::test_nothing_is_decompressed",
            f"{POSTS}::test_of_an_endless_answer_the_first_64_kib_are_read",
            f"{POSTS}::test_an_answer_that_does_not_come_ends_at_the_deadline",
            f"{POSTS}::test_a_slow_body_has_answered_all_the_same",
        ),
        (),
        of(
            SECURITY,
            "No redirect is followed, nothing of the environment",
            "An answer has 10 seconds, 64 KiB and 1,024 pieces (lines of its head, chunks), and all answers are read"
            " in turns.",
        ),
    ),
    Promise(
        "TLS is checked against the name, and mail is not sent without the TLS that it is to have.",
        (
            "egress/test_http_tls.py::test_a_certificate_that_is_not_the_hosts_is_not_accepted",
            "egress/test_http_tls.py::"
            "test_over_tls_the_name_is_asked_for_and_checked_and_the_address_is_the_checked_one",
            f"{MAIL}::test_a_certificate_that_is_not_the_mail_servers_ends_it",
            f"{MAIL}::test_starttls_that_is_not_offered_ends_it_before_the_password",
        ),
        (),
        of(SECURITY, "TLS is checked against the host's name"),
    ),
    Promise(
        "Signatures of webhooks are those of Standard Webhooks.",
        (
            "egress/notices/test_webhooks.py::test_the_reference_library_accepts_what_we_sign",
            "egress/notices/test_webhooks.py::test_our_signature_is_the_references",
            "egress/notices/test_webhooks.py::test_what_was_changed_on_the_way_is_not_accepted",
            "dialects/native/alerts/test_alerts.py::test_a_delivery_shows_no_secret",
            "dialects/alerts/test_rules.py::test_a_rule_is_shown_without_its_secrets_but_for_new_ones",
        ),
        (),
        of(SECURITY, "Webhooks are signed"),
    ),
    Promise(
        "What others wrote is text in a mail and in a chat, and nothing else.",
        (
            "egress/mail/test_letters.py::test_no_text_makes_a_header_or_a_recipient",
            "egress/mail/test_letters.py::test_whatever_is_written_makes_one_tame_message",
            "egress/notices/test_chat.py::test_in_slack_no_text_is_more_than_text",
            "egress/notices/test_chat.py::test_in_discord_no_text_is_more_than_text",
            "egress/notices/test_chat.py::test_in_teams_no_text_is_more_than_text",
        ),
        (),
        of(SECURITY, "What others wrote makes no header of a mail"),
    ),
)

PRICED = (
    Promise(
        "A cost that its senders told takes the place of what was computed for the same; the sums over runs, agents,"
        " models and hours agree, and none is ever negative.",
        (
            f"{COMPUTED}::test_a_told_total_keeps_the_cost_where_it_was_spent",
            f"{COMPUTED}::test_a_told_total_of_one_agent_takes_nothing_from_another",
            f"{COMPUTED}::test_a_total_of_tokens_is_priced_for_what_it_adds",
            f"{COMPUTED}::test_what_totals_add_has_the_base_price_in_any_order",
            "projections/test_told_totals.py::test_calls_of_other_models_take_their_cost_with_them",
            f"{ANEW}::test_the_sums_agree_whatever_is_told_and_computed_anew",
        ),
        (),
        of(PAGE_OF_PRICES, "So the sums over runs, agents, models and hours agree"),
    ),
    Promise(
        "What nobody knows a price of is unpriced and counted, and never costs 0.",
        (
            f"{COMPUTED}::test_calls_are_priced_each_for_itself",
            f"{COMPUTED}::test_a_bare_total_is_unpriced_and_never_0",
            "model/test_price.py::test_each_bucket_has_its_price",
            "model/test_price.py::test_a_tier_is_of_all_input_of_one_call",
        ),
        (),
        of(PAGE_OF_PRICES, "It is never $0"),
    ),
    Promise(
        "A price of an organisation's own holds for its calls from its time on.",
        (
            f"{OWN}::test_the_price_counts_that_holds_since_the_latest_time",
            f"{OWN}::test_a_price_is_of_its_organisation",
        ),
        (),
        of(PAGE_OF_PRICES, "Of those that fit a call, the one counts that holds since the latest time before it"),
    ),
    Promise(
        "What is computed anew is written once, beside the old figure, which stays in the log.",
        (
            f"{ANEW}::test_what_changes_is_shown_then_written_and_then_nothing_changes",
            f"{ANEW}::test_who_comes_second_looks_again",
            "engine/repricing/test_replay.py::test_totals_and_calls_may_overtake_each_other",
            "engine/repricing/test_replay.py::test_an_hour_that_is_not_meant_keeps_what_was_computed_of_it",
        ),
        (),
        of(PAGE_OF_PRICES, "What was computed before stays in the log."),
    ),
)

MONEY = (
    Promise(
        "A budget counts every sum once, to the nano-dollar, and tells each of its thresholds once a period, whoever"
        " spends at once.",
        (
            "projections/test_budgets.py::test_wherever_the_clock_was_a_period_goes_on_with_what_it_has_counted",
            "engine/test_unknown_sums.py::test_what_does_not_fit_stays_unknown",
            "contract/test_rows.py::test_a_sum_that_does_not_fit_stays_unknown_whatever_comes",
            "engine/test_unknown_sums.py::test_one_event_tells_so_much_and_what_is_more_is_named_and_not_used",
            f"{BUDGETS}::test_64_posters_over_a_threshold_are_counted_exactly_and_told_once",
            f"{BUDGETS}::test_the_same_in_a_thousand_rounds",
            f"{SPENDING}::test_one_warning_and_one_exceeded_and_a_run_goes_on",
            f"{SPENDING}::test_what_a_change_of_the_amount_crosses_is_told_once",
            f"{SPENDING}::test_a_repeat_is_counted_once",
            f"{SPENDING}::test_a_correction_moves_the_period_that_counted_what_it_corrects",
            f"{SPENDING}::test_a_tree_counts_what_was_spent_before_it_was_known_to_be_one",
            "projections/test_budgets.py::test_a_new_period_begins_with_nothing_and_tells_again",
            f"{SPENDERS}::test_no_mutant_lives",
        ),
        (
            "what the group has counted is forgotten",
            "money of a new run is not counted",
            "a budget begins with nothing",
            "a change keeps what was told",
        ),
        of(README, "A budget counts every sum once"),
    ),
    Promise(
        "A reservation is granted only where the money is there, and is settled once.",
        (
            "engine/commands/test_reservations.py::test_without_control_a_key_releases_its_own_alone",
            "engine/commands/test_reservations.py::test_a_released_reservation_holds_nothing_and_is_told_in_the_audit",
            "engine/commands/test_reservations.py::test_what_is_held_is_listed_by_budget_run_and_key",
            "sdk/record/test_reservation.py::test_a_block_that_raises_holds_nothing_any_more",
            f"{SPENDING}::test_a_reservation_holds_until_its_event",
            f"{BUDGETS}::test_reservations_keep_spending_within_the_amount",
            f"{SPENDING}::test_a_reservation_holds_in_the_budgets_of_the_agent_that_spends_it",
            f"{SPENDING}::test_nothing_is_held_any_more_for_a_run_that_has_ended",
            f"{SPENDERS}::test_no_mutant_lives",
        ),
        ("a hold never ends", "a restart ends a hold"),
        of(PAGE_OF_BUDGETS, "As long as no call costs more than was reserved for it by the agent that makes it"),
    ),
    Promise(
        "While a budget is used up its senders are told, and no run begins; what it paused goes on once it has money"
        " again, and nothing else.",
        (
            "engine/reactions/test_budgets.py::test_a_clock_that_was_ahead_for_a_moment_leaves_the_hour_as_it_was",
            f"{BUDGETS}::test_every_reply_of_steps_warns_while_it_holds",
            f"{SPENDING}::test_no_run_is_created_while_a_budget_is_used_up",
            f"{SPENDING}::test_a_raise_lets_go_on_what_it_paused_and_nothing_else",
            "engine/ingest/test_named_threads.py"
            "::test_a_run_that_was_paused_as_it_joined_a_thread_goes_on_when_there_is_money",
            f"{SPENDING}::test_what_a_person_has_said_since_is_not_taken_back",
            f"{SPENDERS}::test_no_mutant_lives",
        ),
        ("others are not stopped", "a raise lets nobody go on", "no other budget keeps it paused"),
        of(PAGE_OF_BUDGETS, "While it is exceeded:", "Runs that a person paused, before or since, stay paused"),
    ),
    Promise(
        "Nobody sees or changes the budgets of another organisation.",
        (
            f"{SPENDING}::test_nobody_sees_the_budgets_of_others",
            f"{BUDGETS}::test_nobody_sees_or_spends_the_budgets_of_others",
        ),
        (),
        of(README, "An organisation never sees another's objects"),
    ),
)

ASKING = (
    Promise(
        "Of all answers to a question or about tool calls one counts, and the others are told whose.",
        (
            "acceptance/test_approvals.py::test_of_several_agents_at_one_step_a_decision_names_one",
            "acceptance/test_checkpoints_latest.py::test_who_waits_for_a_decision_learns_that_its_run_is_over",
            f"{INBOX}::test_of_many_answers_one_counts_and_the_others_are_told_whose",
            f"{INBOX}::test_other_tool_calls_at_the_same_step_are_another_approval",
            f"{LINKS}::test_of_many_clicks_one_counts",
        ),
        (),
        of(PAGE_OF_APPROVALS, "The first answer counts;", "If the agent replaces the calls, or asks under the same"),
    ),
    Promise(
        "What nobody answers in time says so, and stands under nobody's name.",
        (
            f"{EXPIRY}::test_it_expires_at_its_time_and_not_before",
            f"{EXPIRY}::test_tool_calls_are_rejected_by_nobody",
            f"{EXPIRY}::test_an_answer_between_expiry_and_the_next_sweep_is_too_late",
            f"{EXPIRY}::test_an_answer_that_nobody_could_hear_in_time_counts_after_a_restart",
            f"{EXPIRY}::test_what_expired_in_a_standstill_is_held_open",
        ),
        (),
        of(PAGE_OF_APPROVALS, "It carries nobody's name", "Time in which the server could not be reached"),
    ),
    Promise(
        "An answer fits the schema of its question, and no schema costs the server more than a moment.",
        (
            f"{INBOX}::test_an_answer_that_does_not_fit_the_schema_is_refused_by_every_way",
            "model/test_answer_schema.py::test_a_schema_that_could_do_harm_is_not_used",
            "model/test_answer_schema.py::test_a_long_answer_is_not_tried_on_a_large_schema",
        ),
        (),
        of(SECURITY, "JSON Schemas of agents are bounded"),
    ),
    Promise(
        "An answer link is signed, good for one answer, and worth nothing without the key, or the rule and channel,"
        " that it is of; opening it changes nothing, and what is shown of a message answers nothing.",
        (
            f"{LINKS}::test_opening_a_link_changes_nothing_however_often",
            f"{LINKS}::test_the_form_answers_once_in_the_name_of_whom_it_was_sent_to",
            f"{LINKS}::test_a_link_that_has_expired_answers_nothing",
            f"{LINKS}::test_a_link_that_has_expired_stays_expired_after_each_start",
            "engine/commands/test_approvals.py::test_a_link_that_has_ended_never_comes_back",
            f"{LINKS}::test_a_token_that_was_changed_is_no_link",
            f"{LINKS}::test_a_link_is_worth_what_the_key_of_its_maker_is",
            f"{MESSAGES}::test_a_link_is_worth_nothing_without_its_rule_and_its_channel",
            f"{MESSAGES}::test_what_is_shown_of_a_message_answers_nothing",
            f"{LINKS}::test_the_log_of_requests_has_no_token",
            f"{LINKS}::test_the_page_brings_nothing_from_elsewhere_and_runs_nothing",
            "asgi/pages/approvals/test_html.py::test_what_was_sent_in_is_text_on_the_page",
        ),
        (),
        of(
            SECURITY,
            "An answer link lets whoever has it",
            "One that a message of an alert rule carries is worth nothing",
            "Opening it changes nothing",
            "Its page has no script",
        ),
    ),
    Promise(
        "Nobody sees or answers the approvals of another organisation.",
        (
            f"{INBOX}::test_another_organisation_sees_and_answers_nothing",
            "contract/test_approvals.py::test_each_organisation_has_its_own",
        ),
        (),
        of(README, "An organisation never sees another's objects"),
    ),
)

TOLD = (
    Promise(
        "An alert fires once, with the event that causes it, whatever is sent again.",
        (
            "projections/scopes/test_rules.py::test_a_set_that_has_changed_is_like_one_that_is_made_of_what_it_is_now",
            "engine/alerts/test_many.py::test_all_rules_about_a_run_fire_with_one_event",
            f"{FIRING}::test_a_failed_run_fires_once_and_puts_one_message_into_the_outbox",
            f"{FIRING}::test_a_rule_looks_only_at_its_scope",
            f"{FIRING}::test_a_rule_holds_as_it_was_made_or_changed_last",
            "projections/scopes/test_rules.py::test_an_event_meets_each_rule_that_it_may_concern_once",
            f"{FIRING}::test_a_run_that_comes_to_cost_as_much_fires_once",
            f"{FIRING}::test_a_budget_fires_at_a_fraction_once_a_period",
            f"{FIRING}::test_a_loop_goes_on_over_commits_and_a_restart",
            f"{ALERTS}::test_64_posters_over_a_threshold_fire_once",
            "projections/alerts/test_conditions.py::test_a_loop_begins_once",
            "store/sqlite/alerts/test_alerts.py::test_a_second_alert_of_an_episode_is_not_written",
        ),
        (),
        of(README, "An alert fires once"),
    ),
    Promise(
        "Each message arrives in the end, under one id, whatever its receiver does and however the server dies.",
        (
            "engine/timers/messages/test_fan_out.py::test_all_messages_are_written_once_in_the_order_of_their_alerts",
            "engine/timers/messages/test_fan_out.py::test_what_is_told_meanwhile_comes_behind",
            f"{ALERTS}::test_nothing_is_lost_whatever_the_receiver_does_and_however_the_server_dies",
            f"{SENDING}::test_what_arrives_is_signed_and_has_one_id_in_all_attempts",
            f"{SENDING}::test_what_is_under_way_at_the_end_is_due_again_under_its_id",
            f"{SENDING}::test_what_is_never_taken_is_given_up_and_can_be_sent_anew",
        ),
        (),
        of(PAGE_OF_ALERTS, "If the server is killed meanwhile, the message is due again."),
    ),
    Promise(
        "A dead receiver delays no other, nor does an organisation that has many of them.",
        (
            "engine/timers/messages/test_fan_out.py::test_each_organisation_has_its_turn",
            f"{SENDING}::test_a_dead_receiver_delays_no_other",
            f"{SENDING}::test_an_organisation_with_dead_receivers_delays_no_other",
        ),
        (),
        of(PAGE_OF_ALERTS, "so a dead receiver delays no other."),
    ),
    Promise(
        "What goes by time fires for agents that are silent, once, and tells when it is over.",
        (
            f"{TIMED}::test_a_question_that_nobody_answers_fires_once_and_its_answer_ends_it",
            f"{TIMED}::test_a_run_without_progress_fires_and_is_stopped",
            f"{TIMED}::test_a_run_that_no_worker_serves_fires_and_one_that_waits_its_turn_does_not",
            f"{TIMED}::test_too_many_failures_in_a_window_fire_until_they_are_few_again",
            f"{TIMED}::test_people_are_told_again_while_it_lasts_unless_somebody_sees_to_it",
        ),
        (),
        of(PAGE_OF_ALERTS, "so they fire for agents that are silent"),
    ),
)

REPEATS = (
    Promise(
        "A question under an `Idempotency-Key` is answered as it was at first, and one that was refused may be mended.",
        (
            "acceptance/test_idempotency_keys.py::test_a_question_is_answered_under_its_key_as_it_was_at_first",
            "acceptance/test_idempotency_keys.py::test_a_question_that_is_refused_may_be_mended_under_its_key",
        ),
    ),
    Promise(
        "A call that a provider has refused for its rate shows in its agent's activity.",
        ("acceptance/test_activity_feed.py::test_a_call_that_a_provider_has_refused_for_its_rate_appears",),
    ),
)
SCREENS = (
    Promise(
        "A row that changes is sent four times a second at most, and its last state always comes: over slow readers,"
        " cut connections and restarts.",
        (
            f"{LIVE}::test_hundreds_of_changes_are_a_few_frames_and_the_last_state_always_comes",
            f"{LIVE}::test_nothing_is_lost_over_restarts",
            f"{LIVE}::test_one_that_takes_nothing_delays_nobody",
            f"{WATCHING}::test_the_place_moves_only_with_the_last_row_of_a_sweep",
            f"{WATCHING}::test_more_changes_than_are_noted_are_a_gap",
            f"{WATCHING}::test_a_trimmed_stretch_is_a_gap",
            "engine/live/test_rows.py::test_a_row_that_leaves_is_told_of_once_more",
            "engine/live/test_kinds.py::test_who_comes_back_is_told_of_alerts_that_have_changed_without_an_event",
            "engine/live/test_kinds.py::test_the_end_of_a_run_is_the_end_of_all_that_it_asks",
        ),
        (),
        of("docs/guides/live.md", "A row is sent four times a second at most", "A run that leaves what is asked for"),
    ),
    Promise(
        "Who watches rows sees those of one organisation, with the rights of a key that is still good.",
        (
            f"{LIVE}::test_another_organisation_sees_nothing",
            f"{WATCHING}::test_organisations_have_channels_of_their_own",
            f"{LIVE}::test_scopes",
            f"{LIVE}::test_a_revoked_key_ends_it",
        ),
        (),
        of("docs/guides/live.md", "A stream ends within five seconds after its key was revoked"),
    ),
)

AUDITED = (
    Promise(
        "An act and its entry in the audit are one commit: each act has exactly one, and nothing else has any.",
        (
            f"{AUDIT}::test_every_route_is_an_act_or_is_known_to_be_none",
            f"{AUDIT}::test_an_act_leaves_exactly_one_entry",
            f"{AUDIT}::test_a_repeat_under_one_idempotency_key_leaves_no_second",
            f"{AUDIT}::test_what_is_no_act_leaves_no_entry",
            f"{AUDIT}::test_a_refused_act_leaves_no_entry",
            f"{AUDIT}::test_a_process_killed_between_commit_and_reply_has_told_it_once",
            f"{AUDIT}::test_commands_on_the_machine_are_told_by_their_account",
            f"{ACTS}::test_an_entry_names_who_when_from_where",
            f"{ACTS}::test_an_entry_is_committed_with_its_act_or_not_at_all",
            f"{ACTS}::test_every_verb_is_an_act_or_is_known_to_be_none",
            f"{ACTS}::test_what_changes_nothing_leaves_no_entry",
            f"{AUDIT}::test_the_address_is_that_of_whoever_the_trusted_proxy_speaks_for",
        ),
        (),
        of(SECURITY, "Every act of a person or a key that changes something is recorded"),
    ),
    Promise(
        "What an alert rule or a budget does to a run, and an answer by a link, stands in the audit under its name.",
        (
            f"{AUTOMATIC}::test_a_rule_that_acts_is_the_actor",
            f"{AUTOMATIC}::test_a_budget_is_the_actor_of_each_pause_and_of_each_resume",
            f"{MESSAGES}::test_a_mail_brings_the_agent_its_answer",
        ),
        (),
        of(PAGE_OF_AUDIT, "So is what an alert rule or a budget does to runs."),
    ),
    Promise(
        "Whoever changes or takes out an entry of the audit, or cuts it short, is found by `verify`.",
        (
            f"{AUDIT}::test_verify_names_one_row_that_was_tampered_with",
            "engine/test_verify.py::test_every_forgery_is_found_and_named",
            "model/test_audit.py::test_a_link_covers_the_one_before_the_organisation_the_number_and_the_text",
        ),
        (),
        of(SECURITY, "The entries of an organisation form a hash chain"),
    ),
    Promise(
        "No secret stands in the audit.",
        (
            f"{AUDIT}::test_neither_a_key_nor_what_people_write_to_agents_stands_in_it",
            "model/test_audit.py::test_a_member_that_is_named_like_a_secret_is_hidden_at_any_depth",
        ),
        (),
        of(SECURITY, "No entry holds a secret."),
    ),
)

ERASED = (
    Promise(
        "Of what was erased nothing is left but figures, names, times, places and hashes; not in the files either.",
        (
            "engine/timers/messages/test_fan_out.py::test_what_was_erased_is_not_written",
            f"{ERASURE}::test_an_erased_run_keeps_its_figures_and_nothing_else",
            "engine/erasure/test_stories.py::test_an_erasure_leaves_a_log_that_verifies_the_same_figures_and_no_words",
            "store/sqlite/erasure/test_reclaim.py::test_no_byte_of_a_deleted_row_is_left_and_the_rest_is_whole",
            f"{ERASURE}::test_a_repeat_does_not_bring_it_back",
            "engine/erasure/test_retention.py::"
            "test_what_was_erased_right_before_a_kill_is_overwritten_after_the_next_start",
        ),
        (),
        of(SECURITY, "The content of a run or a thread is erased by one request"),
    ),
    Promise(
        "A log with tombstones verifies, and what is done to them is found.",
        ("engine/erasure/test_retention.py::test_tampering_with_tombstones_is_found",),
        (),
        of(PAGE_OF_RETENTION, "`towerlog verify` accepts a tombstone only where"),
    ),
    Promise(
        "What another run has in its history stays.",
        (
            f"{ERASURE}::test_content_that_another_run_has_stays",
            f"{SHARED}::test_what_is_erased_between_the_look_and_the_commit_is_stored_again",
            f"{SHARED}::test_metas_are_stored_again_where_another_run_holds_the_messages",
            f"{SHARED}::test_what_is_erased_before_the_event_comes_is_stored_again",
            f"{SHARED}::test_metas_that_are_erased_before_the_event_comes_are_stored_again",
            f"{SHARED}::test_a_workers_report_is_stored_again_as_well",
        ),
        (),
        of(PAGE_OF_RETENTION, "A message that another run has in its history stays"),
    ),
    Promise(
        "By size, what ended first in the log goes first, whatever the clock was; and no more than is too much.",
        (
            f"{BY_SIZE}::test_a_wrong_clock_changes_nothing_of_who_goes_first",
            f"{BY_SIZE}::test_what_has_ended_by_a_clock_that_was_ahead_is_erased_all_the_same",
            f"{BY_SIZE}::test_what_was_erased_by_hand_is_held_no_more",
            f"{BY_SIZE}::test_what_an_erasure_leaves_is_not_held",
            f"{BY_SIZE}::test_what_was_erased_in_part_is_taken_off_once",
            f"{BY_SIZE}::test_content_that_is_swept_is_held_no_more",
            f"{BY_SIZE}::test_after_any_story_the_figure_is_that_of_a_restart_and_that_of_a_scan",
        ),
        (),
        of(PAGE_OF_RETENTION, "By size, the runs whose ends come first in the log go first"),
    ),
    Promise(
        "An erasure is carried out in steps, and gone on with after a kill.",
        (
            "engine/erasure/test_retention.py::test_a_long_run_is_erased_in_steps_between_which_others_commit",
            f"{ERASURE}::test_a_killed_erasure_is_gone_on_with",
        ),
        (),
        of(PAGE_OF_RETENTION, "It erases a few runs at a time"),
    ),
)

NODES = (
    Promise(
        "What one node takes in is followed and obeyed on every other, once and in order, whatever fails between them.",
        (
            "acceptance/test_nodes.py::test_a_worker_of_one_node_is_cancelled_on_another",
            "acceptance/test_nodes.py::test_claims_that_wait_on_all_nodes_get_each_run_once",
            "acceptance/test_nodes.py::test_a_run_is_followed_on_one_node_while_all_write_it",
            "engine/nodes/test_lines.py::test_followers_on_every_node_see_every_seq_once",
            "engine/nodes/test_lines.py::test_what_was_read_back_before_it_was_told_is_told_once",
            "faults/test_nodes.py::test_each_kind_of_fault_loses_nothing",
            "faults/test_nodes.py::test_many_faults_at_random_moments_lose_nothing",
        ),
        (),
        of(
            PAGE_OF_NODES,
            "An event is stored once, in one order, whichever node it came to.",
            "A command that one node took in reaches a worker",
        ),
    ),
    Promise(
        "What one node has erased is in the memory and the figures of no other for long, whatever was heard of it.",
        (
            "engine/nodes/test_lines.py::test_what_another_node_has_erased_is_not_counted_though_nothing_was_heard_of_it",
            "engine/nodes/test_lines.py::test_content_that_another_node_has_swept_is_counted_anew",
        ),
        (),
        of(PAGE_OF_NODES, "Messages are numbered, and each node says every second how many there were"),
    ),
    Promise(
        "A database that says nothing any more is an outage: silent connections, and a server that stands still.",
        (
            "faults/test_silent_database.py::test_connections_that_go_silent_are_made_anew",
            "faults/test_silent_database.py::test_a_database_that_stands_still_is_an_outage_and_is_over_once_it_goes_on",
        ),
        (),
        of("docs/operate/postgres-ha.md", "A request waits for some seconds, then it gets"),
    ),
    Promise(
        "One node leads: what time brings about and messages to people are done once, and go on when it is lost.",
        (
            "engine/nodes/test_lines.py::test_one_node_leads_and_another_when_it_leaves",
            "acceptance/test_nodes.py::test_an_alert_is_made_and_sent_once",
        ),
        (),
        of(PAGE_OF_NODES, "When it is killed, stands still or loses the database, another node leads"),
    ),
    Promise(
        "Keys, stream tickets and rates count over all nodes.",
        (
            "acceptance/test_nodes.py::test_a_key_that_is_revoked_is_good_nowhere",
            "acceptance/test_nodes.py::test_a_stream_ticket_opens_one_stream_on_one_node",
            "store/postgres/test_meeting.py::test_a_name_is_used_up_once",
            "acceptance/test_nodes.py::test_a_limit_is_shared_by_all_nodes",
            "asgi/guard/test_limits.py::test_several_nodes_let_through_what_one_would",
        ),
        (),
        of(PAGE_OF_NODES, "A key that is revoked is good nowhere after five seconds"),
    ),
    Promise(
        "What a stranger publishes at the bus is not believed.",
        ("wake/test_nats.py::test_strangers_and_other_stores_are_not_heard",),
        (),
        of(PAGE_OF_NODES, "Messages are signed with a secret that is in the database"),
    ),
)

SENT = (
    Promise(
        "Agents whose names look alike are one agent.",
        ("model/test_plain_names.py::test_what_nobody_sees_makes_no_name_of_its_own",),
    ),
    Promise(
        "What an import says that a person has said, a person has said.",
        ("cli/importers/test_first_words.py::test_what_the_program_notes_is_not_what_a_person_said",),
    ),
    Promise(
        "A turn of the Claude Agent SDK costs what its result tells, once.",
        ("sdk/integrations/claude_agent/test_costs.py::test_a_turn_costs_what_its_result_tells",),
    ),
    Promise(
        "What goes out of a run adds up to what the run has spent, and says where nobody knows.",
        (
            "projections/test_span_figures.py::test_spans_of_a_run_add_up_to_what_it_has_spent",
            "projections/test_span_figures.py::test_a_span_of_another_tracer_says_that_nobody_knows_its_cost",
        ),
    ),
    Promise(
        "A sender that was restarted while it waits asks the same question.",
        ("acceptance/test_steps_runs.py::test_a_sender_that_was_restarted_asks_the_same_question",),
    ),
    Promise(
        "An end that names no trace ends the run that can be meant, and no other.",
        ("engine/ingest/test_ends_without_trace.py::test_it_is_that_of_the_only_run_with_its_agent_or_its_model",),
    ),
    Promise(
        "A tool that waits for a person has not failed.",
        ("dialects/otlp/test_failures.py::test_a_tool_that_waits_for_approval_has_not_failed",),
    ),
)

PROMISES: dict[str, tuple[Promise, ...]] = {
    "What is stored stays": DURABLE,
    "What is read is what was written": WHOLE,
    "Order, holders and time": ORDER,
    "Many nodes": NODES,
    "Who may do what": ACCESS,
    "Bounds": BOUNDS,
    "Senders": SENDERS,
    "What senders mean": SENT,
    "What goes out": OUTWARD,
    "Money": MONEY,
    "Prices": PRICED,
    "Answers of people": ASKING,
    "Alerts": TOLD,
    "Repeats, and refusals elsewhere": REPEATS,
    "Screens": SCREENS,
    "Who has changed what": AUDITED,
    "What is erased is gone": ERASED,
}
"""Heading → rows."""

NO_PROMISE = ("The figures are in [Limits]", "See [What goes out]", "It does not reach backups.")
"""Sentences of SECURITY, "What is in place", that promise nothing by themselves."""
