"""Writes the parts of the docs that the program itself knows: settings, commands, errors, events, routes, limits, and
the walk of one request through the files.

    python docs/generate.py            # write them
    python docs/generate.py --check    # change nothing; exit with 1 when a page is out of date

A page keeps its own words. What stands between `<!-- generated: NAME -->` and `<!-- /generated -->` is replaced.
"""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from towerlog import errors
from towerlog.asgi.pages import Pages
from towerlog.asgi.pages.examples import CONVERSATIONS
from towerlog.asgi.pages.guides.pages import FOLDER
from towerlog.asgi.routes import RouteTable
from towerlog.cli.exits import MEANINGS as EXIT_CODES
from towerlog.cli.main import main as towerlog
from towerlog.config import MEANINGS as SETTINGS
from towerlog.config import PREFIX, Settings
from towerlog.dialects import DIALECTS, steps
from towerlog.dialects.activity import dialect as activity
from towerlog.dialects.base import Dialect, status_of
from towerlog.dialects.checkpoints import dialect as checkpoints
from towerlog.dialects.lanes import dialect as lanes
from towerlog.dialects.native import NATIVE
from towerlog.dialects.otlp import dialect as otlp
from towerlog.dialects.runs import dialect as runs
from towerlog.model.audit import ACTIONS
from towerlog.model.event import TARGET_STATUS, EventType
from towerlog.model.feed import FEED_TYPES_ALWAYS, FEED_TYPES_SOMETIMES
from towerlog.model.principal import Scope
from towerlog.model.run import TERMINAL, TRANSITIONS, Status

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PACKAGE = ROOT / "src" / "towerlog"
PAGES_BESIDE = (ROOT / "ARCHITECTURE.md", ROOT / "STYLE.md")
"""Pages outside of this folder that have generated parts."""
CEILINGS_OF = {
    "alone": "a tool call of `steps`",
    "step": "a step of `steps`",
    "error": "an error of `steps`",
    "native step": "a native batch of one step",
    "native model call": "a native batch of one model call",
    "followed": "a tool call of `steps` while somebody follows its run",
}
"""Name in `tests.tidy.walk.CEILINGS` → what is sent."""
SECTION = re.compile(r"(<!-- generated: ([a-z-]+) -->\n)(?:(?!<!-- ).)*?(<!-- /generated -->)", re.DOTALL)
HELP_WIDTH = 100
GOLDEN = ROOT / "tests" / "dialects" / "golden"
EXAMPLES = PACKAGE / "asgi" / "pages" / "assets" / CONVERSATIONS
OPEN = re.compile(r"<[a-z]+>|\{[a-z][a-z0-9_]*\}")
"""What stands for any value of a kind, or for one that was saved before."""
DROPPED = object()
SERVED = [page for page in sorted(DOCS.rglob("*.md")) if "internals" not in page.parts]
"""Pages for people who use it, which the server serves."""
GUIDE_COPIES = {PACKAGE / "asgi" / "pages" / "assets" / FOLDER / page.relative_to(DOCS): page for page in SERVED}
"""Copy of a page inside of the package → the page."""

EVENTS: dict[EventType, str] = {
    EventType.RUN_QUEUED: "The run was created and waits for a worker.",
    EventType.RUN_STARTED: "Work on the run has begun, or begun again.",
    EventType.RUN_PAUSE_REQUESTED: "A pause was requested. The agent gets it in the next reply.",
    EventType.RUN_PAUSED: "The run is paused; it can be resumed.",
    EventType.RUN_RESUME_REQUESTED: "A resume was requested. The agent gets it in the next reply.",
    EventType.RUN_RESUMED: "The run was resumed.",
    EventType.RUN_WAITING: "The agent asks a person a `question` and waits. `question_id`: what answers call it.",
    EventType.RUN_INPUT: (
        "The answer to the question `question_id`, in `content`; `answered_by` names who gave it."
        " The run goes back to `running` when no question is open."
    ),
    EventType.RUN_QUESTION_WITHDRAWN: "The agent gave a question up: nobody has to answer it any more.",
    EventType.APPROVAL_EXPIRED: (
        "Nobody has answered in time what `approval_id` names. `on_expiry`: what follows; nobody stands under it."
    ),
    EventType.RUN_MESSAGE: "A person wrote to the agent, in `content`; it answers no question, even while one is open.",
    EventType.RUN_CANCEL_REQUESTED: "A cancel was requested. The agent gets it in the next reply, with its `reason`.",
    EventType.RUN_COMPLETED: "The run has completed, with its `result`.",
    EventType.RUN_FAILED: "The run has failed, for the reason in `error`.",
    EventType.RUN_CANCELLED: "The run was cancelled; `forced` when its agent did not acknowledge the cancel in time.",
    EventType.RUN_SILENT: "A run without a lease has sent nothing for long. Does not change its status.",
    EventType.RUN_LOST: (
        "The run was given up: its leases expired too often, it was silent for too long, or its runner began anew as "
        "the run `resumed_by`."
    ),
    EventType.BUDGET_WARNING: "A budget warns that little is left, or the run's runner says so of its own.",
    EventType.COST_REPRICED: "Costs of one agent, model and hour were computed anew: how many `calls`, `old_usd`,"
    " `new_usd`.",
    EventType.USAGE_RECOUNTED: "What has counted counts less or more now: of a model call, since one below it came"
    " after it (its `span_id`); of a running total, since calls came that are in it, or a lower one that it had"
    " overtaken; of one of the whole run, since another model was named. By how much the figures change.",
    EventType.BUDGET_EXCEEDED: "A budget is used up: with `budget_id` one of Towerlog's, and the run goes on; else the"
    " runner's own, which ends the run.",
    EventType.MESSAGE_DELTA: "A piece of an answer while it is being written, in `text`.",
    EventType.TOOL_CALL: "A tool was called: `tool`, `arguments`. Call and result share a `tool_call_id`.",
    EventType.TOOL_RESULT: "The result of a tool call: `tool`, `success`, `result` or `error`.",
    EventType.MODEL_CALL: (
        "A call of a model: `model`, `total_input_tokens`, `total_output_tokens`, `cost_usd`, `success`."
    ),
    EventType.STEP: "A step of the agent, called `name`.",
    EventType.CHECKPOINT: (
        "A snapshot of the conversation after `step_index`, or an approval decision about one; `withdrawn`: nobody "
        "waits for that any more."
    ),
    EventType.COMMAND_DELIVERED: "A command was delivered to the agent for the first time.",
    EventType.COMMAND_ACKNOWLEDGED: "The agent acknowledged a command; it is not delivered again.",
    EventType.LANE_CLAIMED: "A worker has claimed the run and holds its lease.",
    EventType.LANE_REPORT: "A worker's heartbeat, phase or log line.",
    EventType.LANE_RELEASED: "A worker has given the run back to the queue.",
    EventType.LANE_LOST: "A lease expired; the run is back in the queue, or given up.",
    EventType.RUN_ERASED: "Content of the run was erased, all before this event: `scope` says which.",
    EventType.ERASED: "A tombstone: the event that was here is erased. Its type is `erased_type` in its data.",
    EventType.OTHER: "Any other event, under the name that its sender gave it.",
}

LIMITS: dict[str, list[tuple[str, str, str]]] = {
    "What a request may hold": [
        ("dialects.base", "MAX_ID_CHARS", "characters of an id"),
        ("dialects.base", "MAX_LABEL_CHARS", "characters of a label"),
        ("dialects.checkpoints.dialect", "MAX_EVENTS", "events in a batch of `checkpoints`"),
        ("dialects.checkpoint_event", "MAX_MESSAGES", "messages in a history"),
        ("dialects.activity.pushes", "MAX_EVENTS", "events pushed to `activity` at a time"),
        ("dialects.lanes.bodies", "MAX_EVENTS", "events in a report of `lanes`"),
        (
            "dialects.otlp.dialect",
            "MAX_SPANS",
            "spans, or log records, in a request of `otlp`; further ones are rejected",
        ),
        ("dialects.otlp.values", "MAX_VALUE_DEPTH", "levels of a value of an attribute"),
        ("dialects.otlp.protobuf", "MAX_MESSAGE_PARTS", "parts of a span as protobuf; it is rejected alone"),
        ("dialects.otlp.protobuf", "MAX_REQUEST_PARTS", "the same of all its spans; those behind them are rejected"),
        (
            "dialects.otlp.json_in",
            "MAX_SPAN_PARTS",
            "commas and opening brackets of a span as JSON; it is rejected alone",
        ),
        (
            "dialects.otlp.masks",
            "MAX_SUSPECTED",
            "places of a request that may be secrets; spans behind them are rejected",
        ),
        (
            "dialects.otlp.drafts",
            "MAX_SHARED_BYTES",
            "bytes of the attributes of a process in the beginning of each of its runs; what is larger is left out",
        ),
        (
            "dialects.otlp.drafts",
            "TIMES_THE_BODY",
            "times its own bytes for the events of a request of `otlp` together; spans behind them are rejected",
        ),
        (
            "dialects.otlp.drafts",
            "BYTES_AT_LEAST",
            "bytes beyond that, and 1,024 for each event",
        ),
        ("dialects.native.screens.traces", "MAX_TRACE_EVENTS", "events of a run that go out as spans in one reply"),
        ("dialects.native.screens.traces", "MAX_TRACE_BYTES", "bytes of these spans, unless one is larger by itself"),
        ("dialects.native.events", "MAX_EVENTS", "events in a batch or a report of the native API"),
        ("dialects.native.events", "MAX_RUNS", "further runs that a batch asks about"),
        ("dialects.fields", "MAX_LABELS", "labels of a run or a worker"),
        ("dialects.lanes.bodies", "MAX_AGENTS", "agents that a worker says it serves"),
        ("model.persona", "MAX_PERSONA_KEY_CHARS", "characters of a persona's key"),
        ("model.persona", "MAX_VERSION_CHARS", "characters of a persona's version"),
        ("model.persona", "MAX_INSTRUCTIONS_BYTES", "bytes of a persona's instructions"),
        ("model.persona", "MAX_MODEL_SETTINGS_BYTES", "bytes of a persona's model settings"),
        ("model.persona", "MAX_TOOLS", "tools of a persona"),
        ("model.persona", "MAX_BASE_URL_CHARS", "characters of a route's URL"),
        ("model.persona", "MAX_KEY_ENV_CHARS", "characters of the name of a key's variable"),
        ("model.audit", "MAX_STATE_BYTES", "bytes of an audit entry's `before` or `after`; a longer one is left out"),
        ("model.audit", "MAX_STATE_CHARS", "characters of a text in them; a longer one is cut"),
        ("store.sqlite.audit.entries", "MAX_LOOKED_AT", "entries of the audit that are looked at for a page"),
        ("model.budget", "MAX_BUDGETS", "budgets of an organisation"),
        ("model.retention", "MAX_ERASED_RUNS", "runs that one request erases"),
        ("engine.erasure.requests", "COUNTED_RUNS", "runs that a dry run of retention counts for each policy"),
        ("engine.timers.retention", "RUNS_AT_ONCE", "runs that retention erases before the next organisation's turn"),
        (
            "store.sqlite.erasure.uses",
            "INDEXED_ROWS",
            "rows that one step brings into the indexes by which erasures ask",
        ),
        ("store.columns.erasure", "STEP_ROWS", "events, and other rows, that one step of an erasure takes"),
        ("store.columns.erasure", "STEP_BYTES", "bytes of them, as far as the last does not go beyond"),
        ("store.sqlite.erasure.reclaim", "GIVEN_BACK_PAGES", "free pages that are given back in one step"),
        ("store.sqlite.erasure.reclaim", "WIPED_PAGES", "pages that are gone over in one step after an erasure"),
        ("model.price", "MAX_PRICES", "prices of its own that an organisation has"),
        ("model.price", "MAX_PATTERNS", "different patterns with `*` or `?` among them"),
        ("model.name_pattern", "MAX_STARS", "`*` in the pattern of a price"),
        ("model.name_pattern", "MAX_QUESTION_MARKS", "`?` in it, none of them between two `*`"),
        ("model.budget", "MAX_RESERVATIONS", "reservations of an organisation that are open at a time"),
        ("model.budget", "MAX_RESERVATIONS_OF_KEY", "the same of one key"),
        ("model.budget", "MAX_RESERVATIONS_OF_RUN", "the same of one run"),
        ("model.budget", "MAX_REFUSALS_TOLD", "refused reservations of a budget in a minute that logs tell of"),
        ("model.budget", "MAX_HOLD_SECONDS", "seconds that a reservation holds its amount"),
        (
            "model.budget",
            "MAX_LARGE_HOLD_SECONDS",
            "seconds of one with which its key holds more than a half of a budget",
        ),
        ("model.budget", "MAX_COUNTED_HOLDERS", "keys of which a budget knows how much they hold"),
        ("model.budget", "MAX_LET_GO", "runs of which a used-up budget knows that people let them go on"),
        ("model.alert", "MAX_RULES", "alert rules of an organisation"),
        ("model.alert_channel", "MAX_CHANNELS", "channels of an alert rule"),
        ("model.alert_channel", "MAX_CHANNELS_BYTES", "bytes of those, with their secrets"),
        ("model.alert_channel", "MAX_TARGET_CHARS", "characters of a channel's target"),
        ("model.alert", "MAX_QUIET_AGENTS", "agents that the cool-down of a rule knows at a time"),
        ("model.alert", "MAX_QUIET_BYTES", "bytes of their names; past it the oldest are forgotten"),
        ("model.alert", "MAX_CALLS", "tool calls of a run that are looked at for a loop"),
        ("engine.plan.alerts", "MAX_PENDING_DELIVERIES", "messages of an organisation that wait to be delivered"),
        (
            "engine.timers.alerts",
            "RULES_AT_ONCE",
            "rules with alerts that last, looked at for one that is gone, a second",
        ),
        ("engine.timers.messages.outbox", "MAX_UNDER_WAY", "messages that are being delivered at a time"),
        ("engine.timers.messages.outbox", "MAX_OF_ORGANISATION", "of them of one organisation"),
        ("engine.timers.messages.outbox", "MAX_OF_RECEIVER", "of them to one host, for one organisation"),
        ("engine.queries.threads", "MAX_LOOKED_AT", "threads that one page of a search through threads looks at"),
        ("store.columns.removal", "STEP_ROWS", "rows of a removed organisation that one step erases"),
        ("store.columns.removal", "STEP_BYTES", "bytes of them"),
        ("store.columns.removal", "RUNS_AT_ONCE", "runs of it that one step erases, with their other rows"),
        ("engine.erasure.removal", "STEPS_AT_ONCE", "steps of it before the next removed organisation has its turn"),
        ("asgi.pages.sign_in.organisations", "MAX_REMOVED_SHOWN", "removed organisations that are listed"),
        ("engine.timers.messages.outbox", "ORGANISATIONS_AT_ONCE", "organisations whose messages one look takes up"),
        ("engine.timers.messages.outbox", "RECEIVERS_AT_ONCE", "receivers of each of them that it looks at"),
        (
            "engine.timers.messages.outbox",
            "MESSAGES_AT_ONCE",
            "messages after which it takes up no other organisation",
        ),
        ("model.alert", "MAX_WINDOW_MINUTES", "minutes of the window of a rule"),
        ("engine.timers.rules.watch", "ROWS_AT_ONCE", "runs of a rule that the timer looks at in a second"),
        ("engine.timers.old_rows", "KEPT_ALERTS", "alerts, and messages, of an organisation that are kept"),
        (
            "engine.timers.rules.workers",
            "MAX_KNOWN",
            "workers, and kinds of them, of which is known when they asked for work last",
        ),
        ("engine.timers.rules.workers", "MAX_KNOWN_OF_ORGANISATION", "of them of one organisation"),
        ("engine.timers.rules.workers", "MAX_KNOWN_OF_KEY", "of them of one key"),
        (
            "engine.timers.rules.workers",
            "PLACE_CHARS",
            "characters of its agents and labels for which one counts once more",
        ),
        ("engine.timers.rules.turns", "TURN_MS", "milliseconds that the timer looks at the rules of an organisation"),
        ("engine.timers.rules.watch", "TREE_ROWS", "runs of a tree that the timer reads for a rule about it"),
        ("engine.plan.alerts", "MAX_PLAN_NOTICES", "alerts and messages of a commit, but for its last event"),
        ("engine.load.misses", "MAX_ALERTS_ASKED", "alerts that one commit looks up, but for those of its last event"),
        ("engine.plan.alerts", "MAX_MESSAGES_OF_COMMIT", "deliveries that one commit writes for an organisation"),
        ("engine.timers.messages.fan_out", "BODIES_AT_ONCE", "alerts whose other deliveries one further commit writes"),
        ("engine.alerts.reactions", "MAX_FIRED_OF_EVENT", "alerts about budgets that one event opens"),
        (
            "projections.scopes.row_sets",
            "MAX_KNOWN_PLACES",
            "places of which is remembered which budgets, or rules of a trigger, are about them",
        ),
        ("model.alert_preview", "MAX_PREVIEW_EVENTS", "events that a rule is tried on, the newest"),
        ("model.alert_preview", "MAX_PREVIEW_BYTES", "bytes of them"),
        ("model.alert_preview", "MAX_PREVIEW_MS", "milliseconds that it is tried"),
        ("model.alert_preview", "MAX_PREVIEW_RUNS", "runs that still last which it is tried on"),
        ("model.alert_preview", "MAX_PREVIEW_FIRINGS", "firings that it tells of, the newest"),
        ("engine.queries.alerts.trials", "MAX_TRIALS", "rules that are tried at a time"),
        ("engine.queries.alerts.trials", "MAX_WAITING_TRIALS", "rules that wait to be tried, one of each key"),
        ("model.usage", "MAX_EVENT_DOLLARS", "dollars that one event may tell"),
        ("engine.pricing.own_prices", "MAX_KNOWN_BYTES_OF_OWN", "bytes of what is known of an organisation's prices"),
        ("engine.pricing.price_list", "MAX_KNOWN_BYTES", "bytes of what is known of the list of prices"),
        ("model.delivery", "MAX_ATTEMPTS_KEPT", "attempts that a delivery remembers"),
        ("model.delivery", "MAX_REDELIVERED", "messages that one request sends anew"),
        ("model.member", "MAX_MEMBERS", "members of an organisation"),
        ("model.member", "MAX_SESSIONS", "sessions of a member; with one more the oldest ends"),
        ("asgi.pages.mcp.page", "MAX_MESSAGE_BYTES", "bytes of a message of a client of MCP"),
        ("asgi.pages.mcp.messages", "MAX_ID_BYTES", "bytes of the id of such a message"),
        ("asgi.pages.mcp.messages", "MAX_METHOD_CHARS", "characters of its method"),
        ("asgi.pages.mcp.messages", "MAX_ERROR_CHARS", "characters of the words of an error of MCP"),
        ("asgi.pages.mcp.messages", "MAX_ERROR_DATA_CHARS", "characters of each text beside these words"),
        ("asgi.pages.mcp.messages", "MAX_ERROR_DATA_BYTES", "bytes of all that stands beside them"),
        ("dialects.runs.model_answers", "MAX_MESSAGE_ID_CHARS", "characters of a message's id that AG-UI is told"),
        (
            "dialects.runs.model_answers",
            "MAX_SPANS",
            "model calls with text in pieces that AG-UI remembers",
        ),
        (
            "dialects.views.said",
            "MAX_SAID_BYTES",
            "bytes of what a model has said, for its text",
        ),
        ("dialects.views.said", "MAX_SAID_DEPTH", "depth of the objects in it that are looked into"),
        (
            "engine.queries.bodies",
            "MAX_LAST_MESSAGES",
            "last messages in which a result is looked for",
        ),
        ("asgi.pages.sign_in.passwords", "MIN_PASSWORD_CHARS", "characters of a password, the fewest"),
        ("asgi.pages.sign_in.passwords", "MAX_PASSWORD_CHARS", "characters of a password, the most"),
        ("asgi.pages.sign_in.pages", "MAX_BODY_BYTES", "bytes of a body that signs in"),
        ("model.member", "MAX_LINKS", "sign-in links for a member that were not used; with one more the oldest ends"),
        (
            "asgi.pages.sign_in.attempts",
            "TRIES_OF_MEMBER",
            "tries of a password in a minute for one member, from one address",
        ),
        ("asgi.pages.sign_in.attempts", "TRIES_OF_MEMBER_BY_ALL", "the same from all addresses"),
        (
            "asgi.pages.sign_in.attempts",
            "VISITS_OF_ADDRESS",
            "steps of a sign-in by the identity provider, from an address",
        ),
        ("asgi.pages.sign_in.attempts", "TRIES_OF_ADDRESS", "the same from one address"),
        ("asgi.pages.sign_in.provider", "MAX_UNDER_WAY", "sign-ins that ask the identity provider at a time"),
        ("asgi.pages.sign_in.provider", "MAX_UNDER_WAY_OF_ADDRESS", "the same from one address"),
        ("asgi.pages.sign_in.passwords", "AT_ONCE", "passwords that are checked at a time"),
        (
            "asgi.pages.sign_in.passwords",
            "AT_ONCE_OF_ORGANISATION",
            "the same of one organisation, or of callers without a key",
        ),
        ("asgi.pages.sign_in.places", "MAX_WAITING", "those that wait for it"),
        ("asgi.pages.sign_in.places", "MAX_WAITING_OF_ORGANISATION", "the same of one organisation"),
        ("asgi.pages.sign_in.places", "MAX_WAITING_OF_ONE", "the same of one address or member"),
        ("engine.timers.budgets", "RUNS_AT_ONCE", "runs that one commit stops or resumes for a budget"),
        ("dialects.native.runs", "MAX_RUN_IDS", "run ids that a prefix finds"),
        ("model.command", "MAX_INPUT_BYTES", "bytes of an answer to a run"),
        ("asgi.guard.idempotency", "MAX_IDEMPOTENCY_KEY_BYTES", "characters of an `Idempotency-Key`"),
        ("asgi.push.websocket", "MAX_MESSAGE_BYTES", "bytes of a message of a client of live push"),
        ("asgi.push.websocket", "MAX_BURST_FRAMES", "frames of such a client at once"),
        ("asgi.push.websocket", "FRAMES_PER_SECOND", "frames of such a client in a second after that"),
        ("asgi.shares.share", "MAX_BURST_FRAMES", "frames at once of all such clients of one address, or of one key"),
        ("asgi.shares.share", "FRAMES_PER_SECOND", "frames of all of those in a second after that"),
        ("asgi.push.pusher", "MAX_CHANNELS", "channels of a socket"),
        ("dialects.pusher.messages", "MAX_CHANNEL_CHARS", "characters of a channel's name"),
        ("asgi.pages.dashboard.bundle", "MAX_BUILT_BYTES", "bytes of the dashboard, compressed forms included"),
        ("asgi.pages.push", "MAX_FORM_BYTES", "bytes of a form that asks for a channel"),
        ("asgi.routes", "MAX_PATH_BYTES", "bytes of a path"),
        ("asgi.query_strings", "MAX_QUERY_BYTES", "bytes of a query string"),
        ("asgi.query_strings", "MAX_FIELDS", "parameters in a query string"),
        ("asgi.http1.heads", "MAX_HEAD_BYTES", "bytes of a request's head"),
        ("asgi.http1.heads", "MAX_HEADERS", "headers of a request"),
        ("asgi.http1.heads", "MAX_PARTS", "parts of all its headers together, between commas and semicolons"),
        ("asgi.guard.auth", "MAX_CREDENTIAL_BYTES", "bytes of the header that a key stands in"),
        ("asgi.http1.phases", "MAX_IDLE_BODY_BYTES", "bytes of trailers, and of what else comes with a body unasked"),
        ("asgi.guard.pace", "MAX_BEGUN", "requests begun in a turn of the event loop, over all connections"),
        ("asgi.guard.pace", "TURN_MS", "milliseconds after which nothing more is begun in it"),
        ("asgi.http1.phases", "MAX_PIPELINED", "requests that wait on a connection behind the one that is served"),
        ("dialects.structure", "MAX_PARTS", "commas and opening brackets of one event; it is refused alone"),
        ("dialects.repair", "MAX_SUSPECTS", "words and escapes of one event that may be no JSON; it is refused alone"),
        ("dialects.structure", "MAX_STRING_BYTES", "bytes of one string in a body; its event is refused alone"),
        ("dialects.structure", "MAX_ESCAPES", "backslashes of one string in a body; its event is refused alone"),
        ("dialects.structure", "MAX_MEMBERS", "members of an object that is read member by member"),
        ("model.chain", "SPELLED_BYTES", "bytes of an event that may be repeated under its id in another spelling"),
        ("asgi.inflate", "MAX_RATIO", "times that a body may grow when it is decompressed, past the first mebibyte"),
    ],
    "How long things may take": [
        ("asgi.http1.phases", "HEAD_DEADLINE_S", "seconds for a request's head"),
        ("asgi.http1.phases", "BODY_DEADLINE_S", "seconds for a request's body"),
        ("asgi.http1.phases", "SLOW_READER_S", "seconds after which a reader who takes nothing is cut off"),
        ("asgi.http1.phases", "MIN_TAKEN_BYTES", "bytes that it has to take in that time, where more is there for it"),
        ("asgi.http1.phases", "LINGER_S", "seconds in which what comes after the last reply is read and dropped"),
        ("asgi.push.streams", "HELD_MS", "milliseconds without progress after which a large frame is let go"),
        ("asgi.push.streams", "SILENCE_MS", "milliseconds of silence before a stream pings"),
        ("dialects.pusher.messages", "ACTIVITY_TIMEOUT_S", "seconds of silence before a socket of live push is asked"),
        ("asgi.push.pusher", "PONG_MS", "milliseconds in which it has to answer"),
        ("asgi.guard.tickets", "LIFETIME_MS", "milliseconds for which a stream ticket is good"),
        ("asgi.guard.auth", "REMEMBERED_MS", "milliseconds for which a good key is remembered"),
        (
            "asgi.pages.sign_in.provider_cache",
            "KEPT_MS",
            "milliseconds for which an identity provider's endpoints and keys are kept",
        ),
        ("asgi.pages.sign_in.provider_cache", "FAILED_MS", "the same of a fault in asking for them"),
        ("asgi.pages.sign_in.provider_cache", "MIN_AGE_MS", "how old keys have to be before newer ones are asked for"),
        ("asgi.pages.sign_in.by_provider", "PENDING_S", "seconds for a sign-in at the identity provider"),
        ("model.member", "SESSION_MS", "milliseconds for which a session is good, however much it is used"),
        ("asgi.guard.auth", "SEEN_MS", "milliseconds after which the time of a session's last use is written anew"),
        ("model.member", "DEFAULT_LINK_MS", "milliseconds for which a sign-in link is good, unless asked otherwise"),
        ("model.member", "FIRST_LINK_MS", "the same of the link that the first start prints"),
        ("model.member", "MAX_LINK_MS", "the same at most"),
        ("asgi.guard.auth", "RECHECK_MS", "milliseconds between two checks of an open stream's key"),
        ("dialects.lanes.bodies", "MAX_WAIT_SECONDS", "seconds that a claim or a report may wait"),
        ("dialects.native.events", "MAX_WAIT_SECONDS", "seconds that a batch of the native API may wait"),
        ("dialects.native.events", "MAX_REPORT_WAIT_SECONDS", "seconds that a report of the native API may wait"),
        ("model.lane", "DEFAULT_LEASE_SECONDS", "seconds of a lease, unless its worker asks for another length"),
        ("model.lane", "MAX_LEASE_SECONDS", "seconds of the longest lease"),
        ("engine.timers.loop", "SWEEP_SECONDS", "seconds between two sweeps over leases, cancels and silent runs"),
        ("model.run", "SEEN_GRAIN_MS", "milliseconds by which the index of silent runs may lag behind"),
        ("engine.timers.old_rows", "REPLY_LIFE_MS", "milliseconds for which the reply to an `Idempotency-Key` is kept"),
        (
            "store.columns.questions.searches",
            "MAX_SEARCH_MS",
            "milliseconds of one page of a search through runs, by `q` or what else no index helps with",
        ),
        (
            "asgi.process.loop_watch",
            "MAX_BLOCK_MS",
            "milliseconds for which one piece of work may keep all others waiting; longer ones are counted",
        ),
        ("engine.commit.writer", "STEP_MS", "milliseconds of placing events before others get a turn"),
        ("server", "DRAIN_SECONDS", "seconds that requests in flight get at the end"),
        ("server", "STOP_SECONDS", "seconds from SIGTERM to the end of the process"),
    ],
    "What is held in memory": [
        ("asgi.guard.decoding", "DECODED_AT_ONCE_BYTES", "bytes of a body that is decoded at once and not in a thread"),
        ("asgi.guard.decoding", "DECODED_AT_ONCE_OBJECTS", "objects of such a body, where it has more than 64 KiB"),
        ("asgi.guard.decoding", "MAX_DECODED", "longer bodies that are decoded at a time, in turns"),
        ("asgi.guard.decoding", "LARGE_BYTES", "bytes of a body above which only one is among them"),
        ("threads", "ASIDE_THREADS", "threads for long work that is not decoding"),
        ("asgi.shares.threads", "TURN_MS", "milliseconds after which the next of them has its turn"),
        ("engine.commit.group_size", "MAX_GROUP_COMMANDS", "commands in one commit"),
        ("engine.commit.group_size", "MAX_GROUP_WORK", "work of one commit in plain events; one command may be more"),
        ("engine.commit.group_size", "MIN_GROUP_WORK", "the same while commits take long to load and place"),
        ("engine.commit.group_size", "PLACED_MS", "milliseconds from which on a commit counts as one that takes long"),
        ("engine.commit.group_size", "GATHER_MS", "milliseconds for which what is on its way in may join a commit"),
        ("engine.commit.queue", "MAX_GROUP_BYTES", "bytes of events in one commit, unless one command has more"),
        (
            "engine.commands.long_histories",
            "MAX_MESSAGES_BESIDE",
            "messages and metas that are stored in the commit of their events; of more, before it",
        ),
        (
            "engine.commands.long_histories",
            "MAX_BYTES_AT_ONCE",
            "bytes of the same, and of a block of messages that is stored as one",
        ),
        (
            "engine.commands.long_histories",
            "MAX_LOOKED_UP",
            "prefixes of a long history that are looked for before it is taken for new",
        ),
        (
            "engine.plan.plan",
            "MAX_PLAN_EVENTS",
            "events of one commit; what a command causes beyond them comes in further ones",
        ),
        ("engine.plan.plan", "MAX_PLAN_RUNS", "runs that one commit looks at or changes, the same"),
        ("engine.load.misses", "MAX_MISSING", "rows that placing lacks before they are loaded, and it begins anew"),
        ("engine.load.misses", "MAX_LOOKED_UP", "ids that a group looks for in the runs of traces, or its first item"),
        ("engine.load.span_ways", "LOOKS_OF_SPAN", "of those ids, which a span above counts for: its facts are read"),
        ("engine.load.misses", "MAX_SPANS_ABOVE", "stored spans above one of OpenTelemetry that are looked for"),
        (
            "engine.load.span_ways",
            "MAX_LOOKS_ABOVE",
            "of them times the runs of the trace: of many runs fewer spans",
        ),
        (
            "engine.commit.lost_content",
            "MAX_TIMES_STORED",
            "times that a long history is stored again because of what was erased meanwhile",
        ),
        (
            "asgi.process.log_thread",
            "MAX_WAITING_BYTES",
            "bytes of the log while nobody reads it; more is dropped",
        ),
        ("engine.commit.replies", "MAX_WAITING_BYTES", "bytes of replies that wait to be stored for a repeat"),
        ("engine.follow.channel", "RING_FRAMES", "newest frames of a followed run"),
        ("engine.follow.channel", "LIVE_RING_FRAMES", "newest events of a channel of live push"),
        ("engine.follow.channel", "LIVE_RING_BYTES", "bytes of them"),
        ("engine.follow.channel", "RING_BYTES", "bytes of those frames"),
        ("asgi.http1.phases", "MAX_WAITING_BODY_BYTES", "bytes read of a body before it is asked for, and a packet"),
        ("asgi.http1.phases", "MAX_LINGER_BYTES", "bytes read and dropped after the last reply of a connection"),
        ("asgi.guard.ledger", "MAX_POLLS", "long polls of the process"),
        ("asgi.guard.ledger", "MAX_ACCOUNTS", "keys whose shares are remembered while they hold nothing"),
        ("asgi.guard.ledger", "MAX_IDLE_SHARES", "addresses and organisations of which the same is true"),
        (
            "asgi.bodies",
            "MAX_OPENED",
            "compressed bodies opened at a time beside the loop, one of each organisation",
        ),
        ("asgi.bodies", "MAX_PACKED_ON_LOOP_BYTES", "bytes of a compressed body that is opened on the event loop"),
        ("asgi.bodies", "MAX_OPENED_ON_LOOP_BYTES", "bytes that come out of it there"),
        ("asgi.guard.tickets", "MAX_TICKETS", "stream tickets that were given out and not used"),
        ("asgi.guard.tickets", "MAX_TICKETS_OF_ORGANISATION", "the same of one organisation"),
        ("asgi.guard.tickets", "MAX_TICKETS_OF_KEY", "the same of one key"),
        ("engine.follow.claims", "SETS_COMPARED", "sets of labels compared for the oldest waiting claim"),
        ("engine.follow.channel", "MAX_CHUNK_BYTES", "bytes that a follower takes at a time, or one larger frame"),
        ("engine.live.channel", "SWEEP_MS", "milliseconds at least between two states of a row on `/api/v1/live`"),
        ("engine.live.channel", "ROUND_ROWS", "rows that are read and encoded for it at a time"),
        ("engine.live.channel", "MAX_CHANGED", "rows of an organisation that have changed and are still to be sent"),
        ("engine.live.channel", "RING_BATCHES", "newest batches that are kept for those who watch an organisation"),
        ("engine.live.channel", "RING_BYTES", "bytes of them"),
        ("engine.follow.hub", "ALL_RINGS_BYTES", "bytes of the newest frames of all that is followed together"),
        ("engine.live.channels", "ALL_RINGS_BYTES", "bytes of the batches of all organisations"),
        ("engine.live.channels", "MAX_BEHIND", "events that who comes back may have missed"),
        ("engine.live.reader", "MAX_CAUGHT_UP", "rows that are sent to who comes back; more are a gap"),
        ("engine.live.rows", "MAX_UNTRACED", "agents, lanes, approvals or alerts of an organisation among them"),
        ("model.outline", "MAX_OUTLINE_EVENTS", "events of a run that its outline is made of"),
        ("engine.queries.screens.kept_outlines", "MAX_KEPT_SPANS", "spans of long runs, kept for their next outline"),
        ("model.outline", "MAX_OUTLINE_SPANS", "spans of an outline"),
        ("model.outline", "MAX_OUTLINE_TOOLS", "tools that it has figures of"),
        ("model.outline", "MAX_OUTLINE_WIDTH", "pixels that it may be wide"),
        ("model.span_figures", "MAX_FIGURE_BYTES", "bytes of what a run has told, as spans, and calls may take"),
        ("model.span_figures", "MAX_SETTLED_BYTES", "bytes of what was told before that, and calls have taken"),
        ("model.span_figures", "MAX_CALL_BYTES", "bytes of its calls that came in as spans"),
        ("engine.queries.figures", "MAX_FIGURE_EVENTS", "events of it that are looked at for this"),
        ("engine.queries.figures", "MAX_KEPT_BYTES", "bytes of this that are kept, of runs that are told in parts"),
        (
            "engine.timers.forwarding.spans",
            "MAX_HELD_BYTES",
            "bytes of a run that is forwarded without reading it twice",
        ),
        ("store.sqlite.screens.facets", "MAX_VALUES", "values of a facet of runs"),
        ("dialects.native.screens.run_filters", "MAX_PAIRS", "members of metadata, and labels, that a filter may name"),
        ("engine.follow.pages", "MAX_PAGES", "pages of the store that followers have in hand at a time"),
        ("asgi.guard.ledger", "MAX_READS", "answers to questions that are made at a time, until they are written"),
        ("asgi.guard.ledger", "MAX_READS_OF_ONE", "the same of one organisation, and of one key"),
        ("asgi.guard.ledger", "MAX_SEARCHES", "searches and figures of runs that are worked out at a time"),
        ("asgi.guard.ledger", "MAX_SEARCHES_OF_ONE", "the same of one organisation, and of one key"),
        ("asgi.guard.ledger", "MAX_LARGE_FRAMES", "such frames held at a time until their readers have taken them"),
        ("asgi.guard.ledger", "MAX_LARGE_FRAMES_OF_ORGANISATION", "the same of one organisation"),
        ("asgi.guard.ledger", "MAX_LARGE_FRAMES_OF_KEY", "the same of one key"),
        ("engine.load.cache", "CACHED_ROWS", "rows of each kind that the writer remembers"),
        ("engine.load.cache", "CACHED_BYTES", "bytes of those of each kind"),
        ("engine.load.cache", "CACHED_NODES", "history nodes that the writer remembers"),
        ("engine.load.cache", "CACHED_IDS", "event ids that the writer remembers"),
        (
            "engine.load.cache",
            "MAX_RUNS_OF_TRACE",
            "runs of a trace that it remembers; of more it asks the store",
        ),
        ("engine.load.cache", "MAX_DROPPED", "of each of these that are dropped at once, past their bound"),
        ("engine.timers.cancels", "MAX_CANCELS", "cancels whose deadlines run at a time"),
        (
            "ambient",
            "MAX_SPANS",
            "clock jumps and outages that are kept, so that they do not count as silence",
        ),
        (
            "engine.erasure.age_clock",
            "MAX_STEP_MS",
            "milliseconds that the wall clock may differ from time seen passing; else deletion by age is held back",
        ),
        (
            "dialects.otlp.masks",
            "MAX_KNOWN_KEYS",
            "names of attributes of which is remembered whether they name a secret",
        ),
        (
            "dialects.otlp.masks",
            "MAX_KNOWN_NAMES",
            "names, and ids, of which is remembered what they are without the secrets in them",
        ),
        ("dialects.otlp.json_in", "MAX_KNOWN_TRACES", "ids of traces that are remembered"),
        (
            "dialects.otlp.present",
            "MAX_KNOWN_SETS",
            "sets of attributes of which is remembered what they leave of the table of names",
        ),
        ("dialects.fields", "MAX_KNOWN_NAMES", "names of events that are remembered, each of 200 characters at most"),
        ("dialects.activity.feed", "MAX_KNOWN_TOOLS", "names of tools whose kind is remembered, as long at most"),
        ("model.times", "MAX_KNOWN_SECONDS", "seconds that are remembered, with their text"),
        ("asgi.guard.addresses", "MAX_KNOWN_ADDRESSES", "addresses that are remembered"),
        ("asgi.guard.addresses", "MAX_ADDRESS_CHARS", "characters of one of them"),
        (
            "asgi.guard.limits",
            "MAX_WINDOWS",
            "callers whose rate is counted; the one not seen for longest is forgotten first",
        ),
        ("asgi.guard.auth", "MAX_REMEMBERED", "keys that are remembered"),
        (
            "store.sqlite.connections.connection",
            "WAL_HELD_BYTES",
            "bytes of the write-ahead log while a reader keeps it",
        ),
    ],
    "What goes out": [
        ("egress.http", "POST_SECONDS", "seconds for a post, from the look-up of the name to the end of the answer"),
        ("egress.http", "MAX_ANSWER_BYTES", "bytes read of an answer, its head included"),
        ("egress.answers", "MAX_PIECES", "pieces of an answer: reads, header lines, chunks, preliminary answers"),
        ("egress.connections", "PROMPT_READS", "reads of an answer that follow each other at once"),
        ("egress.connections", "GATHER_SECONDS", "seconds between two further reads"),
        ("egress.connections", "MAX_READ_BYTES", "bytes of one read"),
        ("egress.connections", "MAX_TLS_BYTES", "bytes that TLS may need beside those of an answer"),
        ("egress.http", "MAX_CONTENT_BYTES", "bytes of a body that is posted"),
        ("egress.http", "MAX_HEADERS", "headers of a post beside the transport's own"),
        ("egress.targets", "MAX_URL_CHARS", "characters of a URL"),
        ("egress.hosts", "MAX_HOST_CHARS", "characters of a host's name"),
        ("egress.addresses", "MAX_ALLOWED", "entries in `TOWERLOG_EGRESS_ALLOW`"),
        ("egress.connections", "MAX_ADDRESSES", "addresses of a host that are tried"),
        ("egress.connections", "CONNECT_SECONDS", "seconds for a connection to each of them"),
        ("egress.lookups", "MAX_LOOKUPS", "names looked up at a time"),
        ("egress.lookups", "MAX_LOOKUPS_PER_ORG", "names looked up at a time for one organisation"),
        ("egress.lookups", "LOOKUP_SECONDS", "seconds to look up a name"),
        ("egress.notices.webhooks", "MAX_SECRETS", "secrets that sign one webhook"),
        ("egress.notices.webhooks", "MAX_SECRET_BYTES", "bytes of a webhook's secret, and at least 24"),
        ("egress.collector", "MAX_COLLECTOR_HEADERS", "headers for a collector of OpenTelemetry"),
        ("engine.timers.forwarding.forwarder", "MAX_AT_WORK", "organisations whose runs are read for it at a time"),
        ("engine.timers.forwarding.forwarder", "STRETCH_EVENTS", "events of a log that are looked at in one turn"),
        ("engine.timers.forwarding.forwarder", "MAX_REQUEST_BYTES", "bytes of spans in one request to it"),
        ("engine.timers.forwarding.forwarder", "MAX_REQUEST_RUNS", "runs in one request to it"),
        ("engine.timers.forwarding.deliveries", "MAX_ATTEMPTS", "attempts of a request that it fails at"),
        ("engine.timers.forwarding.spans", "PAGE_EVENTS", "events of a run that are read for it at a time"),
        ("dialects.views.otlp_protobuf", "MAX_SPAN_BYTES", "bytes of a span; a larger one loses attributes"),
        ("dialects.views.otel_spans", "MAX_OPEN_CALLS", "calls of a run without a result that are kept for its spans"),
        ("dialects.views.otel_spans", "MAX_OPEN_STEPS", "steps of a run without an end that are kept for its spans"),
        ("dialects.views.otel_spans", "MAX_OPEN_BYTES", "bytes of those calls"),
        ("egress.mail.mailer", "MAIL_SECONDS", "seconds for a mail"),
        ("egress.mail.mailer", "MAX_MAILS", "mails being sent at a time"),
        ("egress.mail.mailer", "MAX_MAILS_PER_ORG", "of those, of one organisation"),
        ("egress.mail.mailer", "GOODBYE_SECONDS", "seconds for the end of a conversation with the mail server"),
        ("egress.mail.mailboxes", "MAX_ADDRESS_CHARS", "characters of an address of mail"),
        ("egress.mail.mailboxes", "MAX_LOCAL_PART_CHARS", "characters of it before the @"),
        ("egress.mail.mailboxes", "MAX_NAME_CHARS", "characters of the name beside an address"),
        ("egress.mail.mailboxes", "MAX_CREDENTIAL_CHARS", "characters of user and password in `TOWERLOG_SMTP_URL`"),
        ("egress.mail.letters", "MAX_SUBJECT_CHARS", "characters of a subject; longer ones are cut"),
        ("egress.mail.letters", "MAX_TEXT_CHARS", "characters of a mail's text; longer ones are cut"),
        ("egress.notices.chat", "MAX_LINES", "lines of a notice in a chat; of more their number is told"),
        ("egress.notices.chat", "MAX_NOTICE_CHARS", "characters of a notice in a chat"),
        ("egress.notices.chat", "MAX_TITLE_CHARS", "characters of its title"),
        ("egress.notices.chat", "MAX_SLACK_TITLE_CHARS", "characters of its title in Slack"),
        ("egress.notices.chat", "MAX_LINE_NAME_CHARS", "characters of a line's name"),
        ("egress.notices.chat", "MAX_LINE_VALUE_CHARS", "characters of a line's value"),
        ("egress.notices.chat", "MAX_LINK_CHARS", "characters of its link; a longer one is left out"),
        ("config", "MAX_RETRIES", "further attempts in `TOWERLOG_WEBHOOK_RETRY_SECONDS`"),
        ("config", "MAX_RETRY_SECONDS", "seconds before one of them"),
    ],
    "What a client asks and waits for": [
        ("sdk.wire.address", "MAX_RESPONSE_BYTES", "bytes of a reply, and of a line of a stream"),
        ("sdk.wire.address", "MAX_HISTORY_BYTES", "bytes of a reply with the history of a conversation, as to a claim"),
        ("sdk.wire.http1", "MAX_HEAD_BYTES", "bytes of a reply's head, and of its trailers"),
        ("sdk.wire.refusals", "MAX_MESSAGE_CHARS", "characters of a refusal's text that are kept"),
        ("sdk.api.cursors", "MAX_CURSOR_CHARS", "characters by which a server may name a place in a stream"),
        ("sdk.wire.address", "TIMEOUT_S", "seconds for an exchange, unless the caller says otherwise"),
        ("sdk.wire.address", "SILENCE_S", "seconds in which a stream may say nothing before it counts as broken"),
        ("sdk.wire.address", "MAX_IDLE", "connections that are kept for the next request"),
        ("sdk.wire.address", "MAX_RETRY_AFTER_S", "seconds that a server may tell a client to wait"),
        ("sdk.wire.event_batch", "BATCH_EVENTS", "events that a recorder sends at a time"),
        ("sdk.wire.event_batch", "BATCH_BYTES", "bytes that a recorder sends at a time, unless one event has more"),
        ("sdk.wire.event_batch", "STRANGE_TRIES", "times that an event is sent whose status in the reply is unknown"),
        (
            "sdk.record.backlog.hooks",
            "MAX_PAUSE_S",
            "seconds between two tries of a recorder, unless the server asks for more",
        ),
        (
            "sdk.record.recorder",
            "BEAT_S",
            "seconds after which a recorder gives a sign of life for a run that says nothing",
        ),
        ("sdk.record.values.encoding", "MAX_EVENT_BYTES", "bytes of an event; a larger one is cut"),
        ("sdk.record.encoder", "MAX_CHECKPOINT_BYTES", "bytes of a checkpoint; a larger one is not sent, and counted"),
        ("sdk.record.encoder", "MAX_RESENT_BYTES", "bytes of a history that is sent whole with each checkpoint"),
        ("sdk.record.encoder", "MAX_BASES", "checkpoints back to which one is looked for that the server knows"),
        ("sdk.record.histories", "MAX_WHOLE_DEPTH", "levels of a state that is sent whole"),
        ("sdk.record.values.encoding", "MAX_DEPTH", "levels of a value that is not plain JSON"),
        (
            "sdk.record.values.encoding",
            "NAMES_KEPT",
            "names of steps, tools and models that are remembered as they are sent",
        ),
        ("sdk.wire.ids", "TAILS_AT_ONCE", "ids that randomness is fetched for at a time"),
        (
            "sdk.record.recorder",
            "MEMORY_BYTES",
            "bytes of events in a recorder's memory, unless it is given another number",
        ),
        ("sdk.record.backlog.buffer", "MAX_MEMORY_EVENTS", "events in a recorder's memory"),
        ("sdk.record.recorder", "SPOOL_BYTES", "bytes of a recorder's spool, unless it is given another number"),
        ("sdk.record.backlog.segments", "MAX_LINE_BYTES", "bytes of a line of the spool that can be sent"),
        ("sdk.record.backlog.spool", "MAX_ADOPTED", "folders of ended processes that a recorder holds at a time"),
        (
            "sdk.record.backlog.spool",
            "MAX_SET_ASIDE_BYTES",
            "bytes of a file of lines that were set aside; past it they are only counted",
        ),
        ("sdk.work.outbox", "MAX_OUTBOX_BYTES", "bytes of events of a claimed run that wait to be reported"),
        ("sdk.work.outbox", "MAX_OUTBOX_EVENTS", "number of those events"),
        ("sdk.work.dead_letters", "MAX_FILE_BYTES", "bytes of a worker's dead letters; past it they are only logged"),
        (
            "sdk.record.backlog.losses",
            "MAX_RANGES",
            "ranges of dropped events that wait to be told; past it they are only counted",
        ),
        ("sdk.record.commands", "MAX_MESSAGES", "messages that may wait for their agent to read them"),
        ("sdk.record.commands", "MAX_PENDING", "commands of a run that wait in the worker for its agent to begin"),
        ("sdk.record.commands", "MAX_REMEMBERED", "commands of a run that are remembered, so that none acts twice"),
        (
            "sdk.record.commands",
            "MAX_GIVEN_UP",
            "questions that nobody waits for any more whose late answer is told as not taken",
        ),
        ("sdk.record.values.held_answers", "MAX_KEPT", "answers of a run that are not used yet and not acknowledged"),
        (
            "sdk.record.values.held_answers",
            "MAX_HELD",
            "answers of a run that are held on where more belong to one thing that is asked",
        ),
        (
            "sdk.record.values.held_answers",
            "MAX_HELD_BYTES",
            "bytes of the texts of held answers: with more, a program goes on with those that it has",
        ),
        (
            "sdk.record.run",
            "SETTLE_S",
            "seconds that an `ask` whose time is over waits to hear whether an answer was first",
        ),
        ("sdk.api.cursors", "PATIENCE_S", "seconds for which a follower looks for a server that is gone"),
        ("asgi.pages.mcp.tools", "MAX_ANSWER_BYTES", "bytes that a tool of MCP hands out of an answer"),
        ("asgi.pages.mcp.tools", "MAX_WAIT_SECONDS", "seconds that `tail_run` of MCP waits for an event"),
        ("cli.importers.events", "MAX_TEXT_CHARS", "characters of a text that `towerlog import` sends"),
        ("cli.importers.events", "MAX_DEPTH", "levels of a value that it sends"),
        ("cli.importers.sources", "MAX_LINE_BYTES", "bytes of a line of a file that it reads"),
        ("cli.importers.sources", "MAX_WHOLE_BYTES", "bytes of such a file that it holds in memory"),
        ("cli.importers.files", "MAX_FILES", "files of one import"),
        ("cli.importers.copies", "MAX_ITEMS", "entries and messages whose session it remembers"),
        ("cli.importers.delivery", "MAX_REFUSALS", "refused events of a file of which it says why"),
        ("cli.importers.delivery", "MAX_RUN_IDS", "runs of a file whose ids it prints"),
        ("cli.tail", "MAX_SPANS", "spans whose depth `towerlog runs tail` remembers"),
        ("cli.tree", "MAX_FOLLOWED", "runs that `towerlog runs tail` follows at a time"),
        ("cli.tree", "MAX_WAITING", "events of one of them that wait to be shown"),
        ("cli.tree", "MAX_WAITING_BYTES", "bytes of those, or one that is longer"),
        ("cli.tree", "MAX_LOOKED_AT", "newest runs below one of them among which it looks for new ones"),
        ("cli.doctor", "MAX_COUNTED", "runs of one kind that `towerlog doctor` counts"),
    ],
    "What a run and a list may hold": [
        ("model.lane", "MAX_ATTEMPTS", "attempts before a run is lost"),
        ("model.pending", "MAX_MESSAGES", "messages that wait for a run's agent"),
        (
            "model.pending",
            "MAX_ANSWERS",
            "answers to what a run's last attempt asks that wait for it; and so many that earlier attempts have left",
        ),
        (
            "engine.control.steering",
            "SECOND_ANSWER_MS",
            "milliseconds after a question was closed in which an input that names none is taken for another answer",
        ),
        ("model.run", "MAX_PENDING", "commands that wait for a run's agent"),
        (
            "model.pending",
            "MAX_PENDING_BYTES",
            "bytes of the texts of those messages, and of the answers to the last attempt; past it inputs are refused",
        ),
        ("model.pending", "MAX_LEFT_BYTES", "bytes of the answers that earlier attempts have left"),
        (
            "engine.control.told_texts",
            "BYTES_OF_LOOK_UP",
            "bytes of those texts that count as an id which a group looks up for its replies",
        ),
        (
            "model.pending",
            "MAX_ROW_TEXT_BYTES",
            "bytes of each of those texts in the row of its run; a longer one stands in its event alone",
        ),
        ("model.row_bounds", "MAX_ROW_BYTES", "bytes of the row of a run, with all that is below"),
        ("model.row_bounds", "MAX_HEAD_BYTES", "bytes of its names, ids, times and figures, without any list"),
        (
            "model.row_bounds",
            "KEPT_BYTES",
            "bytes of its metadata, open questions, messages and answers that wait; past it inputs are refused",
        ),
        (
            "model.row_bounds",
            "ASKED_BYTES",
            "bytes of its metadata and of open questions; past it questions are refused, metadata stays in its event",
        ),
        (
            "model.row_bounds",
            "MAX_SHARE_BYTES",
            "bytes of what is remembered of one agent of a run; that of the one that told last is always there",
        ),
        (
            "model.row_bounds",
            "FITTED_BYTES",
            "bytes of a row without open calls, clients' numbers, cells; past it agents, calls and cells are forgotten",
        ),
        (
            "model.row_bounds",
            "MAX_REASON_BYTES",
            "bytes of the reason of a cancel or a pause in the row; events are whole",
        ),
        ("model.row_bounds", "MAX_PHASE_BYTES", "bytes of a phase in the row"),
        ("model.row_bounds", "MAX_ERROR_BYTES", "bytes of an error in the row"),
        ("model.row_bounds", "MAX_ANSWERED_BY_BYTES", "bytes of the name of who has answered, in the row"),
        ("model.run_text", "MAX_PART_CHARS", "characters of a run's input, of its result, of its talk for searches"),
        ("model.run_text", "MAX_WORDS", "words that a search looks for"),
        ("model.run", "MAX_METADATA_BYTES", "bytes of a run's metadata; what does not fit stays in its event"),
        ("model.run", "MAX_QUESTIONS", "open questions of one attempt; one more is refused, and its agent told"),
        (
            "model.run",
            "MAX_QUESTION_CHARS",
            "characters of their texts; past it the row shortens the longest, their events are whole",
        ),
        ("model.run", "MAX_QUESTION_BYTES", "bytes of those texts; past it the same"),
        ("model.approval", "MAX_EXPIRY_SECONDS", "seconds that a question or an approval may have until it expires"),
        (
            "model.answer_schema",
            "MAX_SCHEMA_BYTES",
            "bytes of a JSON Schema for answers; one that is past any of these"
            " bounds is kept and not used, and its sender told",
        ),
        ("model.answer_schema", "MAX_SCHEMA_DEPTH", "levels of such a schema"),
        ("model.answer_schema", "MAX_SCHEMA_NODES", "its objects and arrays, each definition as often as it is named"),
        ("model.answer_schema", "MAX_PATTERNS", "its patterns, counted the same way"),
        ("model.answer_schema", "MAX_PATTERN_BYTES", "bytes of a pattern, compiled"),
        (
            "model.answer_schema",
            "MAX_ANSWER_STEPS",
            "nodes of the schema times values of an answer that is tried on it",
        ),
        ("model.answer_schema", "MAX_ANSWER_DEPTH", "levels of such an answer"),
        ("engine.timers.approvals", "SWEEP_ROWS", "approvals that expire in one commit; a sweep goes on"),
        (
            "engine.control.unheard",
            "HEARD_LATE_MS",
            "milliseconds after a start or an outage for which an answer counts whose time ended in it",
        ),
        ("model.answer_link", "MAX_LINK_SECONDS", "seconds that an answer link can be used"),
        ("model.answer_link", "MAX_TOKEN_CHARS", "characters of its token"),
        ("model.answer_link", "MAX_SENT_TO_CHARS", "characters of the name that it is for"),
        ("asgi.pages.approvals.answer_links", "MAX_FORM_BYTES", "bytes of the form on its page"),
        ("asgi.pages.approvals.answer_links", "MAX_FORM_FIELDS", "fields of that form"),
        (
            "asgi.pages.approvals.html",
            "MAX_SHOWN_CHARS",
            "characters of a question, of tool calls, of a schema on that page",
        ),
        (
            "engine.queries.inbox.closed_questions",
            "MAX_EVENTS_LOOKED_AT",
            "events about questions among which an older question's answer is looked for",
        ),
        ("model.run", "MAX_CLOSED_QUESTIONS", "closed questions of a run whose answer's author is remembered"),
        ("model.run", "MAX_COMMAND_IDS", "commands of a run whose ids are known once they are taken"),
        (
            "model.run",
            "MAX_OPEN_TOOLS",
            "open tool calls and steps; past it the oldest is forgotten, and its end is paired with none",
        ),
        ("model.run", "MAX_OPEN_TOOL_BYTES", "bytes of them in the row of their run; past it the same"),
        ("model.run", "MAX_OPEN_ID_CHARS", "characters of such an id; a longer one is kept by its digest"),
        (
            "model.run",
            "MAX_UNPLACED",
            "cells (hour, agent, status) in which a run without a model has events that move once it names one",
        ),
        ("model.run", "MAX_UNPLACED_BYTES", "bytes of those"),
        ("model.spending", "MAX_SHARES", "agents of a run of which is remembered what they have told"),
        ("model.spending", "MAX_SHARES_BYTES", "bytes of that, but for the eight that told last"),
        ("model.dormant", "MAX_DIGESTS", "agents of a run beside these of which is known how many tokens have counted"),
        (
            "model.running_totals",
            "MAX_POINTS",
            "running totals of an agent that count in any order; of lower ones that come late the split is unknown",
        ),
        ("model.running_totals", "MAX_POINTS_BYTES", "bytes of those of one agent"),
        ("model.ledger", "MAX_CLIENTS", "clients of a run whose numbers are counted"),
        (
            "model.ledger",
            "MAX_RANGES",
            "ranges of numbers that are kept of a client",
        ),
        ("model.ledger", "MAX_ALL_RANGES", "the same of all clients of a run together"),
        (
            "model.ledger",
            "MAX_CLIENTS_BYTES",
            "bytes of all of that; past it ranges are forgotten, then no further number is counted",
        ),
        ("model.thread", "MAX_PROCESSES", "processes of a thread whose counted cost is remembered"),
        ("store.values", "MAX_QUARANTINED", "items of a run that are kept in quarantine, of each key"),
        ("store.values", "MAX_QUARANTINED_BYTES", "bytes of those"),
        ("model.thread", "MAX_PROCESS_BYTES", "bytes of their names; past it the same"),
        ("model.thread", "MAX_THREAD_BYTES", "bytes of the row of a thread"),
        ("model.lane", "MAX_LABELS_BYTES", "bytes of the labels that a run's worker must have"),
        ("model.lane", "MAX_LANE_BYTES", "bytes of a lane: its run's place in the queue, and who holds it"),
        ("model.agent", "MAX_AGENT_BYTES", "bytes of the row of an agent"),
        ("model.budget", "MAX_BUDGET_BYTES", "bytes of a budget"),
        ("model.member", "MAX_MEMBER_BYTES", "bytes of a member"),
        ("model.usage", "MAX_CELL_BYTES", "bytes of a cell of the roll-ups"),
        ("model.alert", "MAX_RULE_BYTES", "bytes of an alert rule"),
        ("model.alert", "MAX_ALERT_BYTES", "bytes of an alert"),
        ("model.run", "MAX_OPEN_RUNS", "open runs that a thread remembers"),
        ("model.run", "MAX_THREAD_QUEUE", "runs of a thread that wait for workers or are held by them"),
        ("engine.queries.lanes", "MAX_LANES", "lanes that are looked at for a list of the queue"),
        ("engine.queries.lanes", "MAX_LANES_HELD", "held lanes that are looked at for a list of workers"),
        ("engine.timers.old_rows", "DROPPED_AT_ONCE", "old rows that are dropped before commits have their turn"),
        ("store.values", "MAX_FAMILY", "open runs below one that one commit cancels; the others follow"),
        ("store.values", "MAX_DESCENDANTS", "runs below one that are looked through for open ones"),
        ("store.values", "PAGE_BODY_BYTES", "bytes of stored rows or of events' bodies in a page, and one more"),
        (
            "dialects.views.event_members",
            "MAX_REPEATED_BYTES",
            "bytes of a value repeated beside its event's data",
        ),
        ("engine.queries.views", "MAX_TREE_RUNS", "runs below one that are shown with it"),
        ("store.values", "MAX_OWN_STATES", "own runs of a thread among which its latest state is looked for"),
        ("store.values", "MAX_STATES", "the same of all its runs, and of its open ones"),
        ("engine.queries.views", "MAX_TREE_BYTES", "bytes of those, about"),
        ("dialects.base", "MAX_PAGE", "rows of a page of `runs`"),
        ("dialects.activity.dialect", "MAX_TAIL", "newest events of an agent"),
        ("dialects.native.lists", "MAX_LIMIT", "rows of a page of the native API"),
        ("dialects.native.lists", "MAX_EVENT_LIMIT", "events of a page of the native API"),
    ],
}
"""Heading → (module, constant, what it bounds)."""

ROOMS: dict[str, str] = {
    ".": "`errors`; `ambient`: clock and ids; `threads`; `config`: settings; `server`: puts the parts together.",
    "provider_usage": "How providers and frameworks tell what a model call has used.",
    "integrations": "The adapters of `sdk/integrations` by the names that programs import.",
    "model": "Nouns: frozen values and the rules between their own fields.",
    "dialects": "Wire ⇄ canonical, pure. Here: what several dialects share, and `steps`, which is one file.",
    "dialects/activity": "The dialect `activity`: model calls, and an agent's feed.",
    "dialects/checkpoints": "The dialect `checkpoints`: batches of a runner, conversation state, approvals.",
    "dialects/lanes": "The dialect `lanes`: claim, report, release, conclude.",
    "dialects/otlp": "The dialect `otlp`: spans and log records of OpenTelemetry, in protobuf and JSON.",
    "dialects/otlp/figures": "Tokens and money of a model call, as spans and records tell them.",
    "dialects/pusher": "The Pusher Channels protocol, by which `steps` is pushed: messages, channels, signatures.",
    "dialects/native": "The native API under `/api/v1`, with errors as problem+json.",
    "dialects/alerts": "Alert rules as JSON, and the paths under `/alerts` that `steps` has of them.",
    "dialects/native/alerts": "Rules, alerts and deliveries of the native API.",
    "dialects/native/admin": "The audit, the members and retention of the native API.",
    "dialects/native/screens": "What a screen asks of the native API: rows as they change, figures, an outline, spans.",
    "dialects/native/money": "Budgets, reservations and prices of the native API.",
    "dialects/asked": "Names by which something is asked, in the form in which it is kept.",
    "dialects/approvals": "What dialects say beside a question or a wait for approval.",
    "dialects/native/approvals": "The inbox of the native API: approvals, their answers, answer links.",
    "dialects/views": "What readers find under one name, whichever dialect an event came in through.",
    "dialects/runs": "The dialect `runs`: lists, streams, control.",
    "projections": "Folds (row, event) → row, pure.",
    "projections/alerts": "What makes an alert, as far as figures alone tell.",
    "projections/scopes": "An organisation's budgets, rules and prices, and which of them an event may concern.",
    "store": "Values between engine and backends; migrations; whose the files are; `sql/<backend>/NNNN_name.sql`.",
    "store/base": "The contract of a backend in narrow protocols. Its docstrings are the law.",
    "store/columns": "What values are kept as, whatever the database: rows to values and back, and what fits together.",
    "store/columns/questions": "What is asked of rows, whatever the database: children, words, money, ways up.",
    "store/postgres": "The shared backend: connections, locks, units of work, what a group loads and a commit writes.",
    "store/postgres/link": "A connection that notices when the other side is silent; what an address may ask for.",
    "store/postgres/reading": "What is read: events, runs, threads, lanes, content.",
    "store/postgres/subjects": "Members, keys, the audit, budgets, prices, the inbox, alerts, retention.",
    "store/postgres/upkeep": "Erasures, verification, and organisations and keys for a command.",
    "store/sqlite": "The embedded backend: one writing thread, reading threads beside it.",
    "store/sqlite/approvals": "The inbox: what is open, what has expired, links that were used.",
    "store/sqlite/alerts": "Rules, alerts and deliveries.",
    "store/sqlite/people": "Members, their sessions, and links that sign in; who a key or a session stands for.",
    "store/sqlite/audit": "The audit: its chain as it is written and read.",
    "store/sqlite/erasure": "Retention: policies, the steps of an erasure, content without an owner, free pages.",
    "store/sqlite/money": "Budgets, what they have paused, reservations, and prices.",
    "store/sqlite/screens": "What screens ask of runs: counts, durations, outlines.",
    "store/sqlite/connections": "Connections, their threads, the schema; what an error of SQLite means.",
    "store/sqlite/upkeep": "The files as a whole: what a start does to them, checks, copies, a copy in their place.",
    "egress": "The only way out to addresses of others: the guard, posts, a collector.",
    "egress/notices": "Notices as others take them: bodies for chats, signatures of webhooks.",
    "egress/mail": "Mail: addresses and the operator's server, messages as bytes, the conversation.",
    "wake": "One call after each commit, on which everything hangs that waits for news; and how nodes hear each other.",
    "engine": "`core` puts the rooms below together; `verbs` is the table of commands and reactions.",
    "engine/nodes": "Other nodes of the store: what they commit is heard of, read back, told in order; who leads.",
    "engine/load": "What is known of stored rows while a group is placed: the cache, and what is read into it.",
    "engine/plan": "What one group changes: events with their places, folds, budgets, rules, prices as it leaves them.",
    "engine/audit": "How an act becomes an entry of the audit: what was before and after, who did it.",
    "engine/control": "What is done to a run by whomever: cancel, pause, resume, answer; rights and receipts.",
    "engine/commands": "What a command of a person, program or worker does to a plan, by subject.",
    "engine/commands/acts": "What the audit says of each command: before, after, or nothing.",
    "engine/pricing": "What tokens cost that nobody told a cost of: the list of prices, and an organisation's own.",
    "engine/repricing": "Costs computed anew by the prices of today, a page of runs at a time.",
    "engine/alerts": "Rules: what they are about, what fires, what its messages say.",
    "engine/erasure": "Erasure: policies and the event that tells of it, its steps, who asks for it, how much is held.",
    "engine/commit": "The writer: gathers a group, loads its rows, places its events, commits, answers.",
    "engine/follow": "Followers and long polls: who waits for news, and what is read when there is some.",
    "engine/ingest": "What telemetry needs before it is placed: its run, its event ids, its stored content.",
    "engine/live": "Rows that change, for screens: noted by organisation, read back in rounds, told to all who watch.",
    "engine/queries": "Questions and replies: everything that is read after a commit or without one.",
    "engine/queries/admin": "What owners have set up: keys, members, personas, prices, retention; and the audit.",
    "engine/queries/alerts": "Alerts read back, and a rule tried on what is stored.",
    "engine/queries/inbox": "Approvals: what is open, and what became of one, from its run or from the log.",
    "engine/queries/screens": "Outlines of runs, and what was worked out of long ones.",
    "engine/reactions": "What follows from an event: functions in the lists of `verbs.REACTIONS`.",
    "engine/timers": "What time does by itself: leases, cancels, silence, approvals, budgets, alerts, retention.",
    "engine/timers/rules": "Alert rules that go by time: whose come next, and who asks for work.",
    "engine/timers/forwarding": "Runs that have ended, as spans to a collector: read from the log, sent, tried again.",
    "engine/timers/messages": "Messages of alerts: written as deliveries, taken from the outbox in turns, sent.",
    "asgi": "Transport: a connection, the gate, the route table, bodies and replies.",
    "asgi/guard": "What a request is held against: key, host, address, rate, room.",
    "asgi/http1": "What a connection is made of: the phases and their timer, the requests in hand, checks of a head.",
    "asgi/pages": "What is served beside the APIs: health, metrics, OpenAPI, the documentation.",
    "asgi/pages/approvals": "The page behind an answer link.",
    "asgi/pages/dashboard": "The files that `ui/` was built to, and the paths that answer with them.",
    "asgi/pages/mcp": "The Model Context Protocol: tools, each an endpoint under a name, asked through the gate.",
    "asgi/pages/sign_in": "Where people sign in and out: links, passwords, an identity provider, sessions.",
    "asgi/pages/guides": "The pages of the documentation, as HTML and as Markdown.",
    "asgi/process": "The process around the server: its log, its loop, others on its port, an end that takes too long.",
    "asgi/shares": "What all callers share: who holds how much of it, and who gives way when there is no more.",
    "asgi/push": "Streams: a follower pumped into a sink. Live push: sockets that listen.",
    "sdk": "The client in the user's process. Needs nothing but the standard library, `errors` and `provider_usage`.",
    "sdk/api/alerts": "The calls about alerts, a part of each client.",
    "sdk/api/retention": "The calls about retention and erasure, a part of each client.",
    "sdk/api/members": "The calls about members, a part of each client.",
    "sdk/api/approvals": "The calls of both clients about approvals.",
    "sdk/api": "A method for each endpoint of the native API, blocking and asynchronous; following.",
    "sdk/integrations": "Adapters to agent frameworks, each of which needs its framework; and what they share.",
    "sdk/integrations/claude_agent": "The Claude Agent SDK: messages of turns, sums of a session, permissions.",
    "sdk/integrations/clients": "The clients of OpenAI and Anthropic: their requests, and what endpoints answer.",
    "sdk/integrations/langchain": "LangChain and LangGraph: a callback handler, interrupts, graphs in a worker.",
    "sdk/integrations/openai_agents": "The OpenAI Agents SDK: its runner, hooks of its runs, approvals.",
    "sdk/record": "Recording: runs, spans, decorators, the encoder of events, the thread that delivers.",
    "sdk/record/backlog": "What waits to be delivered: memory, spool, notices of loss.",
    "sdk/record/spans": "What lies between two events: steps, calls of tools and models, money that is held.",
    "sdk/record/values": "What a program passes, made fit for the wire: values, names, figures, usage, question keys.",
    "sdk/wire": "HTTP, retries and refusals; what every other room of the SDK sends through.",
    "sdk/work": "Workers: claim a run, renew its lease, carry it out, hand in its outcome.",
    "cli": "Commands, one file each, imported when called.",
    "cli/importers": "Files of other programs, read as events: one format a file; and how they are sent.",
}
"""Package → what it is for. A package that is not named here fails the generator."""

STATUS_WORDS: dict[str, dict[Status, str]] = {
    "runs": runs.STATUS_WORDS,
    "steps": steps.STATUS_WORDS,
    "checkpoints": checkpoints.STATUS_WORDS,
    "lanes": lanes.STATUS_WORDS,
    "activity": activity.STATUS_WORDS,
    "otlp": otlp.STATUS_WORDS,
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in ([*head], *([*row] for row in rows))]
    rule = "|" + "---|" * len([*head])
    return "\n".join([lines[0], rule, *lines[1:]])


def settings() -> str:
    """Every setting."""
    defaults = Settings()
    rows = []
    for name, meaning in SETTINGS.items():
        default = getattr(defaults, name)
        shown = f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else ""
        rows.append((f"`{PREFIX}{name.upper()}`", f"`{name}`", shown, meaning))
    return table(("Variable", "In a file", "Default", "Meaning"), rows)


def commands() -> str:
    """The help of every command."""
    return "\n\n".join(_help_of(towerlog, "towerlog", None))


def _help_of(command: click.Command, name: str, parent: click.Context | None) -> list[str]:
    own = command.context_settings
    context = click.Context(command, parent, name.rpartition(" ")[2], terminal_width=HELP_WIDTH, **own)
    formatter = context.make_formatter()
    command.format_usage(context, formatter)
    command.format_help_text(context, formatter)
    command.format_options(context, formatter)
    texts = [f"## {name}\n\n```text\n{formatter.getvalue().rstrip()}\n```"]
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            texts += _help_of(found, f"{name} {child}", context)
    return texts


def exit_codes() -> str:
    """What commands exit with."""
    return table(("Code", "Meaning"), ((str(code), meaning) for code, meaning in EXIT_CODES.items()))


def faults() -> str:
    """Every error, and its HTTP status in each dialect."""
    spoken: tuple[Dialect, ...] = (*DIALECTS, NATIVE)
    rows = []
    by_code: dict[str, list[type[errors.TowerlogError]]] = {}
    for kind in sorted(_family(errors.TowerlogError), key=lambda kind: (status_of(_made(kind)), kind.code)):
        by_code.setdefault(kind.code, []).append(kind)
    for kind, *narrower in by_code.values():
        error = _made(kind)
        # One code stands for several errors, of which a reply has one.
        meaning = " Or: ".join(one.message for one in (error, *map(_made, narrower)))
        statuses = [str(dialect.explain(error, "trace").status) for dialect in spoken]
        rows.append((f"`{kind.code}`", meaning, "yes" if kind.retryable else "", *statuses))
    names = [dialect.name for dialect in DIALECTS] + ["native"]
    return table(("Code", "Meaning", "Again?", *names), rows)


def _family(kind: type[errors.TowerlogError]) -> list[type[errors.TowerlogError]]:
    """The classes below one, those that are raised."""
    return [found for child in kind.__subclasses__() for found in (child, *_family(child))]


def _made(kind: type[errors.TowerlogError]) -> errors.TowerlogError:
    if kind is errors.NotFound:
        return errors.NotFound("run", "There is no such object, or nothing at this path.")
    return kind()


def events() -> str:
    """Every type of event."""
    assert set(EVENTS) == set(EventType), "say what each type of event means"
    rows = []
    for kind in EventType:
        target = TARGET_STATUS.get(kind)
        feed = "yes" if kind in FEED_TYPES_ALWAYS else "some" if kind in FEED_TYPES_SOMETIMES else ""
        rows.append((f"`{kind}`", EVENTS[kind], f"`{target}`" if target else "", feed))
    return table(("Type", "Meaning", "The run is then", "In the agent's feed"), rows)


def actions() -> str:
    """Every action of the audit."""
    return table(("Action", "Means"), ((f"`{action}`", meaning) for action, meaning in ACTIONS.items()))


def transitions() -> str:
    """Which status may follow which."""
    order = sorted(Status, key=lambda status: (status in TERMINAL, list(Status).index(status)))
    rows = [(f"`{before}`", *("●" if after in TRANSITIONS[before] else "" for after in order)) for before in order]
    return table(("From ↓ to →", *(f"`{status}`" for status in order)), rows)


def drawing() -> str:
    """The open statuses, and what takes a run to each."""
    moved_by: dict[Status, list[str]] = {status: [] for status in Status}
    for kind, target in TARGET_STATUS.items():
        moved_by[target].append(kind.value)
    lines = ["```mermaid", "stateDiagram-v2", "    state open {"]
    lines += [f"        {status} : {status}" for status in Status if status not in TERMINAL]
    lines.append("    }")
    for status in Status:
        lines += [f"    open --> {status} : {moved}" for moved in moved_by[status]]
    lines += [f"    {status} --> [*]" for status in Status if status in TERMINAL]
    return "\n".join([*lines, "```"])


def words() -> str:
    """Each status in the words of each dialect."""
    rows = [(f"`{status}`", *(f"`{known[status]}`" for known in STATUS_WORDS.values())) for status in Status]
    return table(("Status", *STATUS_WORDS), rows)


def routes() -> str:
    """Every endpoint by dialect, and the pages."""
    texts = []
    for dialect in (*DIALECTS, NATIVE):
        rows = [
            (endpoint.method, f"`{endpoint.path}`", _scopes(endpoint.scopes), endpoint.summary.rstrip("."))
            for endpoint in dialect.endpoints
        ]
        name = f"`{dialect.name}`" if dialect in DIALECTS else "The native API"
        texts.append(f"## {name}\n\n" + table(("Method", "Path", "Any of these scopes", ""), rows))
    pages = [
        (page.method, f"`{page.path}`", _scopes(page.scopes) if page.scopes else "none", page.summary.rstrip("."))
        for page in Pages(metrics_public=False).routes()
    ]
    texts.append("## Pages\n\n" + table(("Method", "Path", "Any of these scopes", ""), pages))
    return "\n\n".join(texts)


def _scopes(scopes: frozenset[Scope]) -> str:
    """Without `admin`, which may do everything, where there is another."""
    return ", ".join(sorted(scopes - {Scope.ADMIN} or scopes))


def limits() -> str:
    """Every bound with its name in the source."""
    texts = []
    for heading, bounds in LIMITS.items():
        rows = []
        for module, name, meaning in bounds:
            value = getattr(importlib.import_module(f"towerlog.{module}"), name)
            rows.append((_number(value), meaning, f"`{module}.{name}`"))
        texts.append(f"## {heading}\n\n" + table(("At most", "", "Name"), rows))
    return "\n\n".join(texts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else str(value)


def rooms() -> str:
    """Every package with its modules."""
    modules: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        folder = path.parent.relative_to(PACKAGE).as_posix()
        modules.setdefault(folder, []).append(path.stem)
    rows = []
    for folder, words in ROOMS.items():
        if folder in modules:
            names = [f"`{name}`" for name in modules.pop(folder) if not name.startswith("__")]
            rows.append(("`towerlog`" if folder == "." else f"`{folder}`", words, " · ".join(names)))
    assert not modules, f"say in ROOMS what these packages are for: {sorted(modules)}"
    return table(("Room", "What it is for", "Modules"), rows)


def walk() -> str:
    """The files that one request with one follower passes, in the order in which each is entered first."""
    sys.path.insert(0, str(ROOT))
    found = importlib.import_module("tests.tidy.walk").traced()["followed"]
    counts = f"{len(found.files)} files, {len(found.stays)} stays in them, {found.returns} returns."
    lines = [
        f"{number}. **`{file}`**: {_first_sentence(file)}<br>{', '.join(f'`{name}`' for name in found.functions(file))}"
        for number, file in enumerate(found.files, start=1)
    ]
    return "\n".join([counts, "", *lines])


def ceilings() -> str:
    """How far a warm request of each kind may lead, from the table that the tests hold it against."""
    sys.path.insert(0, str(ROOT))
    found = importlib.import_module("tests.tidy.walk").CEILINGS
    return table(("Request", "Files", "Returns"), [(CEILINGS_OF[name], *map(str, row)) for name, row in found.items()])


def promises() -> str:
    """What is promised, the tests that show it and the faults that they find: from the tables of the tests."""
    sys.path.insert(0, str(ROOT))
    made = importlib.import_module("tests.faults.promises")
    parts = []
    for heading, rows in made.PROMISES.items():
        shown = ([row.says, _tests(row.tests), "<br>".join(row.faults)] for row in rows)
        parts.append(f"## {heading}\n\n{table(['Promise', 'Shown by', 'Planted faults that are found'], shown)}")
    planted = ([one.name, f"`{one.module}`", _tests([one.test.partition("[")[0]])] for one in made.FAULTS)
    parts.append(f"## Where faults are planted\n\n{table(['Fault', 'In', 'Found by'], planted)}")
    return "\n\n".join(parts)


def _tests(names: Iterable[str]) -> str:
    parted = (name.partition("::") for name in names)
    return "<br>".join(f"`tests/{file}`: {name.removeprefix('test_').replace('_', ' ')}" for file, _, name in parted)


def _first_sentence(file: str) -> str:
    """Of the docstring of a module of the package, on one line."""
    tree = ast.parse((PACKAGE / file).read_text("utf-8"))
    text = " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def layers() -> str:
    """The order of the layers, as the contract that is checked has it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    [found] = (contract["layers"] for contract in contracts if contract.get("containers") == ["towerlog"])
    lines = textwrap.wrap(" → ".join(found), 116, break_on_hyphens=False)
    return "\n".join(["", *(f"    {line}" for line in lines), ""])


def falls_short() -> str:
    """Which thresholds the measured table of the same page does not reach."""
    sys.path.insert(0, str(ROOT))
    report = importlib.import_module("bench.report")
    return str(report.falls_short((DOCS / "performance.md").read_text("utf-8")))


def sizes() -> str:
    """What was measured that says how large a machine has to be."""
    sys.path.insert(0, str(ROOT))
    report = importlib.import_module("bench.report")
    return str(report.sizes((DOCS / "performance.md").read_text("utf-8")))


SECTIONS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "exit-codes": exit_codes,
    "errors": faults,
    "events": events,
    "actions": actions,
    "transitions": transitions,
    "drawing": drawing,
    "words": words,
    "routes": routes,
    "limits": limits,
    "rooms": rooms,
    "layers": layers,
    "falls-short": falls_short,
    "sizes": sizes,
    "walk": walk,
    "ceilings": ceilings,
    "promises": promises,
}


@functools.cache
def section(name: str) -> str:
    """A generated part, made once: a page and its copy in the package have the same. Raises KeyError for no such."""
    return SECTIONS[name]()


def renewed(text: str) -> str:
    """A page with its generated parts written anew. Raises KeyError for a part that nobody knows."""
    return SECTION.sub(lambda found: f"{found[1]}{section(found[2])}\n{found[3]}", text)


def examples_text() -> str:
    """The text of the file of examples of the OpenAPI document.

    What a conversation of the tests sends and gets, of its first success with an endpoint that sends most. Values that
    differ each time (`"<uuid>"`, `"<time>"` …) are left out: the document fills them in from the fields.
    """
    return json.dumps(examples(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def examples() -> dict[str, dict[str, Any]]:
    """Endpoint → what is sent, where anything is, and what comes back."""
    table = RouteTable((*DIALECTS, NATIVE), Pages(metrics_public=False).routes(), NATIVE)
    found: dict[str, dict[str, Any]] = {}
    for step in golden_steps():
        sent, came = step["request"], step["reply"]
        if not 200 <= came["status"] < 300 or not came.get("json", came.get("subset")):
            continue
        path = OPEN.sub("x", sent["path"])
        route, _ = table.find(sent["method"], path.encode())
        endpoint = route.endpoint
        if endpoint is None or endpoint.sample is not None:
            continue
        known = {"reply": settled(came.get("json", came.get("subset")))}
        if endpoint.request is not None and "json" in sent:
            known["request"] = settled(sent["json"])
        if size(known) > size(found.get(endpoint.name, {})):
            found[endpoint.name] = known
    return found


def golden_steps() -> Iterator[dict[str, Any]]:
    """All steps of all conversations, in the order of their files."""
    for file in sorted(GOLDEN.glob("*/*.json")):
        conversation = json.loads(file.read_text("utf-8"))
        yield from conversation["steps"]


def size(known: dict[str, Any]) -> int:
    """How much it shows: what is sent counts before what comes back."""
    return 1000 * len(json.dumps(known.get("request", ""))) + len(json.dumps(known.get("reply", "")))


def settled(value: Any) -> Any:
    """Without what differs each time."""
    if isinstance(value, dict):
        return {name: kept for name, one in value.items() if (kept := settled(one)) is not DROPPED}
    if isinstance(value, list):
        return [kept for one in value if (kept := settled(one)) is not DROPPED]
    return DROPPED if isinstance(value, str) and OPEN.search(value) else value


def outdated() -> list[Path]:
    """Pages, and the file of examples, that do not say what the program and its tests say."""
    pages = [*sorted(DOCS.rglob("*.md")), *PAGES_BESIDE, EXAMPLES, *GUIDE_COPIES]
    return [page for page in pages if not page.exists() or current(page) != page.read_text("utf-8")]


def current(page: Path) -> str:
    """What a file should say."""
    if page == EXAMPLES:
        return examples_text()
    return renewed(GUIDE_COPIES.get(page, page).read_text("utf-8"))


def main(arguments: list[str]) -> int:
    """Writes or checks; the exit code."""
    stale = outdated()
    for page in stale:
        said = "out of date" if "--check" in arguments else "written"
        sys.stdout.write(f"{said}: {page.relative_to(ROOT)}\n")
        if "--check" not in arguments:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(current(page), "utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
