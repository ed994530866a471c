"""Single faults that are planted in the program's source, each with the test that has to find it.

Each is an error that somebody could make. `test_planted.py` runs the tests; `promises.py` says which promise each test
is of, and so the pages of the docs get their last column.
"""

from __future__ import annotations

from typing import NamedTuple

ASSERTIONS = ("AssertionError", "Failed")
"""How a test says that something is not as it should be; the second is pytest's, for what was expected to raise."""


class Fault(NamedTuple):
    """`old` in the source of `module` becomes `new`."""

    name: str
    test: str
    """The id of the test that finds it, below `tests`; of a test with parameters one of them, or all."""
    module: str
    old: str
    new: str
    by: tuple[str, ...] = ASSERTIONS
    """The classes of what the test fails with: where a fault lets out an error that the program should keep, that."""


STORED = (
    Fault(
        "the guard is taken for bytes",
        "store/test_space.py::test_it_is_low_below_the_guard",
        "towerlog.store.space",
        "else guard_mib * MIB",
        "else guard_mib",
    ),
    Fault(
        "below the guard keys cannot be revoked",
        "faults/test_full_disk.py::test_the_guard_refuses_writes_and_nothing_else",
        "towerlog.engine.commit.queue",
        "if self._store.space.was_low and not isinstance(command, ON_A_FULL_DISK):",
        "if self._store.space.was_low:",
    ),
    Fault(
        "the end of a server is told to no stream",
        "acceptance/test_drain.py::test_sigterm_drains_with_open_streams_and_load",
        "towerlog.server",
        "        self._towerlog.drain()\n",
        "",
    ),
    Fault(
        "a stop has no deadline of its own",
        "faults/test_full_disk.py::test_a_stop_waits_for_no_sync_that_does_not_end",
        "towerlog.server",
        "        if not self.should_exit:\n            self._when_stopping()\n",
        "",
    ),
    Fault(
        "verify looks at places alone",
        "acceptance/test_cli.py::test_verify_finds_one_changed_letter_in_the_log",
        "towerlog.engine.audit",
        "elif chain_hash(previous, event) != event.hash:",
        "elif not event.hash:",
    ),
    Fault(
        "indexes are not held against their tables",
        "faults/test_verify_and_rebuild.py::test_an_index_row_that_was_flipped_is_found_and_its_event_named",
        "towerlog.store.sqlite.upkeep.indexes",
        "PRAGMA integrity_check(",
        "PRAGMA quick_check(",
    ),
    Fault(
        "a rebuild forgets checkpoints",
        "acceptance/test_cli.py::test_verify_finds_a_forged_projection_and_rebuild_mends_it[a removed checkpoint]",
        "towerlog.engine.audit",
        "        checkpoints=dict(refold.checkpoints),\n",
        "",
    ),
    Fault(
        "an empty log counts as one",
        "faults/test_torn_copies.py::test_a_database_without_its_log_is_refused",
        "towerlog.store.sqlite.upkeep.whole",
        "if not _has_header(log):",
        "if not log.exists():",
    ),
    Fault(
        "any log that has one before it fits",
        "faults/test_torn_copies.py::test_the_log_of_another_database_is_refused",
        "towerlog.store.sqlite.upkeep.whole",
        "if name not in (now, before):",
        "if name != now and not before:",
    ),
    Fault(
        "a bare cursor is taken for one of this log",
        "faults/test_torn_copies.py::test_after_a_restore_a_bare_cursor_of_the_lost_events_gets_a_gap",
        "towerlog.engine.follow.opening",
        " or await _is_of_earlier_log(store, row, command):",
        ":",
    ),
    Fault(
        "a backup asks for the log of its store",
        "acceptance/test_cli.py::test_a_backup_taken_beside_the_running_server_can_be_served",
        "towerlog.store.sqlite.connection",
        "VALUES ('epoch', ?), ('log', 'copy - whole')",
        "VALUES ('epoch', ?)",
    ),
    Fault(
        "a reader that comes back gets its last event again",
        "acceptance/test_streams.py::test_a_reader_cut_at_random_bytes_sees_every_seq_once_and_in_order[1]",
        "towerlog.engine.follow.opening",
        "min(command.after_seq, row.last_seq)",
        "min(max(command.after_seq - 1, 0), row.last_seq)",
    ),
    Fault(
        "a gap is told to those alone who want everything",
        "engine/follow/test_gaps.py::test_what_was_trimmed_is_told_as_a_gap_and_the_rest_follows",
        "towerlog.engine.follow.follower",
        "if channel.is_dense:",
        "if channel.is_dense and not cursor:",
    ),
)
"""Of what is stored, kept and read again."""

ACCESS = (
    Fault(
        "a scope is asked of pages alone",
        "asgi/test_routes.py::test_a_route_without_a_scope_does_not_start",
        "towerlog.asgi.routes",
        "if not route.scopes and not route.public:",
        "if route.endpoint is None and not route.scopes and not route.public:",
    ),
    Fault(
        "pages need no key",
        "acceptance/test_tenancy_matrix.py::test_no_key_is_401_whatever_else_is_wrong",
        "towerlog.asgi.gate",
        "return Missing.PAGE if route.public else None",
        "return Missing.PAGE if route.page is not None else None",
    ),
    Fault(
        "metrics are for nobody without a key",
        "acceptance/test_keys_and_orgs.py::test_what_needs_no_key",
        "towerlog.asgi.pages.metrics",
        "if not visit.is_local and not self._is_public:",
        "if not self._is_public:",
    ),
    Fault(
        "whoever has a key may see the metrics",
        "asgi/pages/test_pages.py::test_metrics_are_for_this_machine_or_an_admin",
        "towerlog.asgi.pages.metrics",
        "if Scope.ADMIN not in principal.scopes:",
        "if not principal.scopes:",
    ),
    Fault(
        "behind a proxy everybody is local",
        "asgi/guard/test_addresses.py::test_local_is_what_certainly_comes_from_here",
        "towerlog.asgi.guard.addresses",
        "return bool(self._trusted) or not any(",
        "return True or not any(",
    ),
    Fault(
        "a run is found by its id alone",
        "acceptance/test_tenancy_matrix.py::test_what_another_organisation_has_is_not_there",
        "towerlog.store.sqlite.reads",
        '"SELECT doc FROM run WHERE org = ? AND run_id = ?", (org, run_id)',
        '"SELECT doc FROM run WHERE run_id = ?", (run_id,)',
    ),
    Fault(
        "threads of all organisations are listed",
        "acceptance/test_tenancy_matrix.py::test_queries_and_bodies_that_name_theirs",
        "towerlog.store.sqlite.reads",
        'sql, values = "SELECT doc FROM thread WHERE org = ?", [org]',
        'sql, values = "SELECT doc FROM thread WHERE ? IS NOT NULL", [org]',
    ),
    Fault(
        "a key is remembered for half an hour",
        "asgi/guard/test_auth.py::test_a_caller_is_remembered_for_two_seconds",
        "towerlog.asgi.guard.auth",
        "REMEMBERED_MS = 2000",
        "REMEMBERED_MS = 2_000_000",
    ),
    Fault(
        "streams outlive the revocation of their key",
        "asgi/guard/test_auth.py::test_a_revoked_keys_streams_are_stopped_and_no_others",
        "towerlog.asgi.guard.auth",
        "if found is None or found.key.revoked_at is not None:\n                    for stop",
        "if found is None:\n                    for stop",
    ),
    Fault(
        "open streams are asked for too seldom",
        "asgi/guard/test_auth.py::test_open_streams_are_asked_for_once_a_key_every_two_seconds",
        "towerlog.asgi.guard.auth",
        "RECHECK_MS = 2000",
        "RECHECK_MS = 20_000",
    ),
    Fault(
        "the first letters of a key are likelier",
        "test_ambient.py::test_no_letter_of_a_token_is_likelier_than_another",
        "towerlog.ambient",
        " for byte in os.urandom(length) if byte < limit]",
        " for byte in os.urandom(length)]",
    ),
    Fault(
        "the hint of a key tells a part of its secret",
        "engine/commands/test_keys.py::test_only_the_hash_of_a_key_is_kept",
        "towerlog.model.key",
        "return text[: -SECRET_LENGTH - CHECKSUM_LENGTH] if",
        "return text[:-SECRET_LENGTH] if",
    ),
    Fault(
        "a repeat tells a new key again",
        "asgi/test_service.py::test_a_secret_is_in_the_first_reply_alone",
        "towerlog.dialects.native.keys",
        "reply_status=201, replay=False,",
        "reply_status=201,",
    ),
    Fault(
        "any good key may do anything",
        "acceptance/test_keys_and_orgs.py::test_a_key_may_do_what_its_scope_says_and_no_more[read]",
        "towerlog.asgi.gate",
        "if exchange.route.scopes.isdisjoint(principal.scopes):",
        "if not principal.scopes:",
    ),
    Fault(
        "a scope without a name is passed over",
        "acceptance/test_keys_and_orgs.py::test_a_key_that_cannot_be_is_refused_in_words",
        "towerlog.cli.admin",
        'wanted = [part.strip() for part in text.split(",")]',
        'wanted = [part.strip() for part in text.split(",") if part.strip()]',
    ),
    Fault(
        "the log tells the first key as well",
        "acceptance/test_keys_and_orgs.py::test_a_server_without_a_bootstrap_key_prints_one_once",
        "towerlog.server",
        "        minted = node.minted\n",
        '        minted = node.minted\n        _log.warning("the organisation was created", made=str(minted))\n',
    ),
    Fault(
        "a model may hold a key",
        "dialects/native/test_personas.py::test_a_wrong_field_of_a_route_is_named_and_never_shown",
        "towerlog.dialects.native.personas",
        'for field in ("route_id", "provider", "model", "base_url"):',
        'for field in ("route_id", "provider", "base_url"):',
    ),
    Fault(
        "the server fills in the key of a route",
        "acceptance/test_provider_keys.py::test_the_server_reads_no_variable_that_a_route_names",
        "towerlog.dialects.run_json",
        "route.base_url, route.key_env)",
        'route.base_url, __import__("os").environ.get(route.key_env or "", route.key_env))',
    ),
    Fault(
        "the first key may be given as an argument",
        "cli/test_options.py::test_no_command_takes_a_key",
        "towerlog.cli.serve",
        '@with_settings("host", "port")',
        '@with_settings("host", "port", "bootstrap_key")',
    ),
    Fault(
        "the local key may do everything",
        "cli/test_connect.py::test_the_local_key_is_made_once_and_is_its_owners_alone",
        "towerlog.cli.connect",
        '"towerlog command line", ("ingest", "read", "control"))',
        '"towerlog command line", ("ingest", "read", "control", "admin"))',
    ),
    Fault(
        "the local key goes where the environment says",
        "cli/test_connect.py::test_the_local_key_goes_to_no_other_address",
        "towerlog.cli.connect",
        "if not key and named:",
        "if not key and url:",
    ),
    Fault(
        "a key file may be read by its group",
        "cli/test_connect.py::test_a_key_that_others_could_read_is_not_used",
        "towerlog.cli.key_file",
        "& 0o077 or",
        "& 0o007 or",
    ),
    Fault(
        "a key file has mode 0644",
        "cli/test_serve.py::test_a_key_is_kept_out_of_the_journal",
        "towerlog.cli.key_file",
        "os.O_EXCL, FILE_MODE)",
        "os.O_EXCL, 0o644)",
    ),
    Fault(
        "marks of direction reach the terminal",
        "cli/test_untrusted.py::test_nothing_that_moves_the_cursor_gets_through",
        "towerlog.cli.untrusted",
        '_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", ',
        '_UNSAFE_CATEGORIES = frozenset({"Cc", ',
    ),
    Fault(
        "deltas reach the terminal as they came",
        "cli/test_tail.py::test_a_delta_cannot_talk_to_the_terminal",
        "towerlog.cli.tail",
        'self._write(visible_text(str(data.get("content", ""))))',
        'self._write(str(data.get("content", "")))',
    ),
    Fault(
        "the times of the log are local",
        "test_server.py::test_the_log_is_json_in_lines",
        "towerlog.asgi.process.logs",
        'structlog.processors.TimeStamper(fmt="iso", utc=True)',
        'structlog.processors.TimeStamper(fmt="iso", utc=False)',
    ),
    Fault(
        "log lines hold what terminals obey",
        "asgi/process/test_logs.py::test_nothing_that_is_told_makes_a_line_or_moves_a_cursor",
        "towerlog.asgi.process.logs",
        "structlog.processors.JSONRenderer()",
        "structlog.processors.JSONRenderer(ensure_ascii=False)",
    ),
    Fault(
        "an origin is looked for in the text of the setting",
        "asgi/guard/test_cors.py::test_no_other_page_is",
        "towerlog.asgi.guard.cors",
        "origin.lower() in self._named",
        'origin.lower() in b",".join(self._named)',
    ),
    Fault(
        "loopback is known by its usual spelling alone",
        "asgi/guard/test_hosts.py::test_loopback_answers_to_local_names_alone",
        "towerlog.asgi.guard.hosts",
        "if not _is_loopback(bound):",
        "if bound not in LOCAL_NAMES:",
    ),
)
"""Of who may do what."""

BOUNDS = (
    Fault(
        "a cost that is no number is an error of the server",
        "acceptance/test_body_fuzz.py::test_a_body_that_is_spoilt_in_one_place_is_taken_or_refused[steps-end-5]",
        "towerlog.dialects.fields",
        "        return parse_dollars(text)\n    except ValueError as error:",
        "        return parse_dollars(text)\n    except ArithmeticError as error:",
    ),
    Fault(
        "the first wrong field is the only one",
        "acceptance/test_steps_wire.py::test_every_wrong_field_is_named_at_once",
        "towerlog.dialects.steps",
        "raise _every_wrong_field(call.body, error) from None",
        "raise",
    ),
    Fault(
        "a bomb of zstd is opened in large steps",
        "asgi/test_inflate.py::test_a_bomb_dies_before_it_swells[zstd]",
        "towerlog.asgi.inflate",
        "_ZSTD_STEP_BYTES = 512",
        "_ZSTD_STEP_BYTES = 64 * 1024",
    ),
    Fault(
        "how deep a body is counts from its end",
        "acceptance/test_limits.py::test_depth_is_limited_where_the_page_says",
        "towerlog.dialects.structure",
        "if max(depths) > deepest + around:",
        "if depths[-1] > deepest + around:",
    ),
    Fault(
        "a filter of a list is put into its statement",
        "asgi/test_sent_data.py::test_no_statement_holds_what_was_sent",
        "towerlog.store.sqlite.reads",
        '            where += f" AND {column} = ?"\n            values.append(value)\n',
        "            where += f\" AND {column} = '{value}'\"\n",
    ),
    Fault(
        "a body of any application is read as JSON",
        "asgi/test_sent_data.py::test_a_body_that_is_not_json_is_not_read",
        "towerlog.asgi.bodies",
        'name.startswith("application/") and name.endswith("+json")',
        'name.startswith("application/")',
    ),
    Fault(
        "a rate begins anew with each minute",
        "asgi/guard/test_limits.py::test_a_burst_at_the_edge_of_a_minute_gets_no_second_helping",
        "towerlog.asgi.guard.limits",
        "edge = now_ms - WINDOW_MS",
        "edge = now_ms - now_ms % WINDOW_MS - 1",
    ),
    Fault(
        "a request leaves the window too early",
        "asgi/guard/test_limits.py::test_in_no_minute_are_more_let_through",
        "towerlog.asgi.guard.limits",
        "edge = now_ms - WINDOW_MS",
        "edge = now_ms - WINDOW_MS + 1000",
    ),
    Fault(
        "who asks is the first whom a proxy names",
        "asgi/guard/test_addresses.py::test_past_a_trusted_proxy_the_right_most_stranger_counts",
        "towerlog.asgi.guard.addresses",
        'for hop in reversed(forwarded_for(scope["headers"])):',
        'for hop in forwarded_for(scope["headers"]):',
    ),
    Fault(
        "an organisation may take the whole",
        "asgi/guard/test_ledger.py::test_no_key_has_the_whole_and_no_organisation",
        "towerlog.asgi.guard.ledger",
        "(1, 4), (1, 2), (3, 4)",
        "(1, 4), (1, 2), (1, 1)",
    ),
    Fault(
        "a key may take the whole",
        "acceptance/test_hostile_connections.py::test_a_key_with_bodies_in_hand_leaves_room_for_the_others",
        "towerlog.asgi.guard.ledger",
        "(1, 4), (1, 2), (3, 4)",
        "(1, 4), (1, 1), (1, 1)",
    ),
    Fault(
        "the time for a body begins anew with each part",
        "asgi/http1/test_phases.py::test_a_body_that_drips_is_given_up_and_its_connection_ends",
        "towerlog.asgi.http1.pipeline",
        "        self._count_body(request)\n        if len(request.body)",
        "        self._count_body(request)\n"
        "        self._expect(ConnectionPhase.BODY, phases.BODY_DEADLINE_S)\n"
        "        if len(request.body)",
    ),
    Fault(
        "what comes after the last reply is bounded a packet",
        "asgi/http1/test_phases.py::test_what_still_comes_after_the_last_reply_has_a_bound",
        "towerlog.asgi.http1.phases",
        "if self._count > MAX_LINGER_BYTES:",
        "if size > MAX_LINGER_BYTES:",
    ),
    Fault(
        "a row holds all open calls",
        "acceptance/test_bounds_in_bytes.py::test_a_row_is_bounded_whatever_is_told_of_its_run",
        "towerlog.projections.runs",
        "room = MAX_OPEN_TOOL_CHARS",
        "room = MAX_OPEN_TOOL_CHARS * 1024",
    ),
    Fault(
        "a page is bounded by its longest row",
        "acceptance/test_bounds_in_bytes.py::test_a_list_ends_a_page_by_its_size[large_runs]",
        "towerlog.store.sqlite.rows",
        "        if size >= PAGE_BODY_BYTES:",
        "        if len(row[-1]) >= PAGE_BODY_BYTES:",
    ),
    Fault(
        "a beat is due in a thousand times as long",
        "asgi/process/test_loop_watch.py::test_work_on_the_loop_is_a_block",
        "towerlog.asgi.process.loop_watch",
        "int(BEAT_S * 1e9)",
        "int(BEAT_S * 1e12)",
    ),
    Fault(
        "long bodies are decoded on the loop",
        "acceptance/test_loop_blocks.py::test_a_hostile_body[15728640-empty objects-events]",
        "towerlog.asgi.guard.decoding",
        "DECODED_AT_ONCE_BYTES = 256 * 1024",
        "DECODED_AT_ONCE_BYTES = 256 * 1024 * 1024",
    ),
    Fault(
        "a family is cancelled in one step",
        "acceptance/test_loop_blocks.py::test_the_cancel_of_a_large_family[10000]",
        "towerlog.store.values",
        "MAX_FAMILY = 200",
        "MAX_FAMILY = 200_000",
    ),
    Fault(
        "of two keys the last counts",
        "acceptance/test_hostile_connections.py::test_an_ambiguous_request_is_refused[two keys]",
        "towerlog.asgi.connection",
        "            or len(given) != len(headers)\n",
        "",
    ),
    Fault(
        "a target may name any host",
        "acceptance/test_hostile_connections.py::test_an_ambiguous_request_is_refused[another host]",
        "towerlog.asgi.http1.heads",
        'if authority and authority.lower() == headers.get(b"host", b"").lower():',
        "if authority:",
    ),
    Fault(
        "trailers are headers",
        "asgi/http1/test_phases.py::test_trailers_are_no_headers",
        "towerlog.asgi.connection",
        'which nobody here reads.\n        """\n        if self._phase is _HEAD:',
        'which nobody here reads.\n        """\n        if True:',
    ),
    Fault(
        "a refusal overtakes the replies before it",
        "asgi/test_connection.py::test_what_is_no_request_is_refused_after_the_reply_to_the_one_before_it",
        "towerlog.asgi.http1.pipeline",
        "        self._farewell = plain_refusal(status, message, retry_after)\n",
        "        self.transport.write(plain_refusal(status, message, retry_after))\n",
    ),
)
"""Of what has a bound."""

SENDERS = (
    Fault(
        "a redirect is followed with the key",
        "sdk/wire/test_http.py::test_a_redirect_is_refused_and_the_key_goes_nowhere_else",
        "towerlog.sdk.wire.http",
        "            refuse_redirect(response.status)\n            return response",
        "            if 300 <= response.status < 400:\n"
        '                self.address = read_url(response.headers["location"])\n'
        "                return self.request(method, path, body, headers)\n"
        "            return response",
    ),
    Fault(
        "the head of a reply may be as long as a thousand",
        "sdk/test_strangers.py::test_a_reply_without_end_is_given_up[head-blocking]",
        "towerlog.sdk.wire.http",
        "if len(self._waiting) > MAX_HEAD_BYTES:",
        "if len(self._waiting) > MAX_HEAD_BYTES * 1000:",
    ),
    Fault(
        "a reply that is no HTTP is an error of Python's",
        "sdk/test_strangers.py::test_what_leaves_the_sdk_is_an_error_of_its_own",
        "towerlog.sdk.wire.http",
        "except (OSError, EOFError, ValueError) as error:\n                is_stale",
        "except (OSError, EOFError) as error:\n                is_stale",
        ("ValueError",),
    ),
    Fault(
        "the names of fields control a terminal",
        "sdk/test_strangers.py::test_a_refusal_is_told_on_one_line_that_controls_nothing",
        "towerlog.sdk.wire.refusals",
        "{printable(str(name)): printable(str(what))",
        "{str(name): printable(str(what))",
    ),
    Fault(
        "a figure may be anything",
        "sdk/api/test_annotations.py::test_every_field_of_a_type_is_checked",
        "towerlog.sdk.api.annotations",
        "return lambda value: isinstance(value, int | float) and not isinstance(value, bool)",
        "return None",
    ),
    Fault(
        "what is refused for now counts as delivered",
        "sdk/record/test_recorder.py::test_an_outage_loses_nothing_and_doubles_nothing",
        "towerlog.sdk.record.delivery",
        "            elif answer is not None and answer.disposition is Disposition.SMALLER:\n"
        "                settled = self._narrow(batch, answer)\n",
        "            elif answer is not None:\n                settled = True\n",
    ),
    Fault(
        "a name that is no text raises",
        "sdk/record/test_recorder.py::test_no_argument_makes_it_raise",
        "towerlog.sdk.record.recording",
        "whole = given if isinstance(given, str) else name_text(given)",
        "whole = given",
        ("TypeError", "AttributeError"),
    ),
    Fault(
        "what is set aside may be read by anybody",
        "sdk/test_strangers.py::test_a_spool_line_that_cannot_be_sent_is_set_aside_and_the_rest_goes_on",
        "towerlog.sdk.record.backlog.spool",
        "flags, 0o600)",
        "flags, 0o644)",
    ),
    Fault(
        "links in a spool are followed",
        "sdk/test_strange_files.py::test_a_link_among_the_files_is_left_alone",
        "towerlog.sdk.record.backlog.spool",
        "if path.is_file() and not path.is_symlink())",
        "if path.is_file())",
    ),
    Fault(
        "a lock that is none is an error",
        "sdk/test_strange_files.py::test_listing_spools_waits_for_no_pipe_and_takes_no_lock_that_is_none",
        "towerlog.sdk.record.backlog.spools",
        "    except OSError:\n        return False\n",
        "    except FileNotFoundError:\n        return False\n",
        ("IsADirectoryError",),
    ),
    Fault(
        "the folders above a spool are open to all",
        "sdk/test_strangers.py::test_a_spool_and_all_that_is_made_above_it_is_for_its_owner_alone",
        "towerlog.sdk.record.backlog.spool",
        "        one.mkdir(mode=0o700, exist_ok=True)",
        "        one.mkdir(mode=0o700 if one == path else 0o777, exist_ok=True)",
    ),
    Fault(
        "the note in a spool tells the address as it was given",
        "sdk/record/backlog/test_destination.py::test_the_note_in_a_spool_holds_no_secret",
        "towerlog.sdk.record.backlog.destination",
        '"url": _shown(self.url)',
        '"url": self.url',
    ),
    Fault(
        "dead letters may be read by anybody",
        "sdk/work::test_each_event_is_a_line_with_its_reason",
        "towerlog.sdk.work.dead_letters",
        "flags, 0o600)",
        "flags, 0o644)",
    ),
    Fault(
        "hidden arguments are told as the input",
        "sdk/work::test_arguments_can_be_kept_back",
        "towerlog.sdk.work.execute",
        'input=" ".join(told)',
        'input=" ".join(argv)',
    ),
)
"""Of those who send."""

FAULTS = (*STORED, *ACCESS, *BOUNDS, *SENDERS)
