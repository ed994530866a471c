"""Writes the parts of the docs that the program itself knows: settings, commands, errors, events, routes, limits.

    python docs/generate.py            # write them
    python docs/generate.py --check    # change nothing; exit with 1 when a page is out of date

A page keeps its own words. What stands between `<!-- generated: NAME -->` and `<!-- /generated -->` is replaced.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from towerlog import errors
from towerlog.asgi.pages import Pages
from towerlog.cli import main as towerlog
from towerlog.cli.exits import MEANINGS as EXIT_CODES
from towerlog.config import MEANINGS as SETTINGS
from towerlog.config import PREFIX, Settings
from towerlog.dialects import DIALECTS, steps
from towerlog.dialects.activity import dialect as activity
from towerlog.dialects.base import Dialect, status_of
from towerlog.dialects.checkpoints import dialect as checkpoints
from towerlog.dialects.lanes import dialect as lanes
from towerlog.dialects.native import NATIVE
from towerlog.dialects.runs import dialect as runs
from towerlog.model.event import FEED_TYPES, TARGET_STATUS, EventType
from towerlog.model.principal import Scope
from towerlog.model.run import OPEN, TERMINAL, TRANSITIONS, Status

DOCS = Path(__file__).resolve().parent
SECTION = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(\n<!-- /generated -->)", re.DOTALL)
HELP_WIDTH = 100

EVENTS: dict[EventType, str] = {
    EventType.RUN_QUEUED: "The run was created and waits for a worker.",
    EventType.RUN_STARTED: "Work on the run has begun, or begun again.",
    EventType.RUN_PAUSE_REQUESTED: "Somebody wants the run to pause. Its agent is told with its next reply.",
    EventType.RUN_PAUSED: "The run was set aside; it can go on.",
    EventType.RUN_RESUME_REQUESTED: "Somebody wants the run to go on. Its agent is told with its next reply.",
    EventType.RUN_RESUMED: "The run goes on.",
    EventType.RUN_WAITING: "The agent asks a person: `question`.",
    EventType.RUN_INPUT: "An answer: `content`. It takes a waiting run back to `running`.",
    EventType.RUN_CANCEL_REQUESTED: "Somebody wants the run to end. Its agent is told with its next reply.",
    EventType.RUN_COMPLETED: "The run has ended well.",
    EventType.RUN_FAILED: "The run has ended with an error.",
    EventType.RUN_CANCELLED: "The run has ended because somebody wanted it to; `forced` when its agent did not answer.",
    EventType.RUN_SILENT: "A run that only reports has been silent for long. Changes nothing; its next word ends it.",
    EventType.RUN_LOST: "The run was given up: its workers have lost it too often, or it was silent for too long.",
    EventType.BUDGET_WARNING: "The run comes near its budget. Changes nothing.",
    EventType.BUDGET_EXCEEDED: "The run has ended because its budget was used up.",
    EventType.MESSAGE_DELTA: "A piece of an answer as it is written: `content`.",
    EventType.TOOL_CALL: "A tool was called. Shares its `tool_call_id` with the result.",
    EventType.TOOL_RESULT: "A tool has answered.",
    EventType.MODEL_CALL: "A model was called: tokens, cost, how it went.",
    EventType.STEP: "A step of the agent's own, as its sender describes it.",
    EventType.CHECKPOINT: "A snapshot of the conversation, or a decision about one.",
    EventType.COMMAND_DELIVERED: "A reply to the agent has carried a command for the first time.",
    EventType.COMMAND_ACKNOWLEDGED: "The agent has taken a command; it is not told again.",
    EventType.LANE_CLAIMED: "A worker has taken the run under a lease.",
    EventType.LANE_REPORT: "A worker's heartbeat, phase or log line.",
    EventType.LANE_RELEASED: "A worker has given the run back to the queue.",
    EventType.LANE_LOST: "A lease ran out; the run is back in the queue, or given up.",
    EventType.OTHER: "Anything else, under its sender's own name.",
}

LIMITS: dict[str, list[tuple[str, str, str]]] = {
    "What a request may hold": [
        ("dialects.base", "MAX_ID", "characters of an id"),
        ("dialects.base", "MAX_LABEL", "characters of a label"),
        ("dialects.checkpoints", "MAX_EVENTS", "events in a batch of `checkpoints`"),
        ("dialects.snapshots", "MAX_MESSAGES", "messages in a history"),
        ("dialects.activity", "MOST_EVENTS", "events pushed to `activity` at a time"),
        ("dialects.lane_requests", "MOST_EVENTS", "events in a report of `lanes`"),
        ("asgi.native.ingest", "MOST_EVENTS", "events in a batch or a report of the native API"),
        ("asgi.native.ingest", "MOST_RUNS", "further runs that a batch asks about"),
        ("dialects.lane_requests", "MOST_LABELS", "labels of a worker"),
        ("dialects.run_requests", "MOST_LABELS", "labels of a run"),
        ("dialects.lane_requests", "MOST_AGENTS", "agents that a worker says it serves"),
        ("model.registry", "LONGEST_PERSONA_KEY", "characters of a persona's key"),
        ("model.registry", "LONGEST_VERSION", "characters of a persona's version"),
        ("model.registry", "LONGEST_INSTRUCTIONS_BYTES", "bytes of a persona's instructions"),
        ("model.registry", "LONGEST_MODEL_SETTINGS_BYTES", "bytes of a persona's model settings"),
        ("model.registry", "MOST_TOOLS", "tools of a persona"),
        ("model.registry", "LONGEST_BASE_URL", "characters of a route's URL"),
        ("model.registry", "LONGEST_KEY_ENV", "characters of the name of a key's variable"),
        ("dialects.run_requests", "LONGEST_INPUT_BYTES", "bytes of an answer to a run"),
        ("asgi.gate", "LONGEST_IDEMPOTENCY_KEY", "characters of an `Idempotency-Key`"),
        ("asgi.routes", "LONGEST_PATH_BYTES", "bytes of a path"),
        ("asgi.queries", "LONGEST_BYTES", "bytes of a query string"),
        ("asgi.queries", "FIELDS_MAX", "parameters in a query string"),
        ("asgi.connection", "HEAD_BYTES_MAX", "bytes of a request's head"),
        ("asgi.inflate", "RATIO_MAX", "times that a body may grow when it is decompressed, past the first mebibyte"),
    ],
    "How long things may take": [
        ("asgi.connection", "HEAD_DEADLINE_S", "seconds for a request's head"),
        ("asgi.bodies", "DEADLINE_MS", "milliseconds for a request's body"),
        ("asgi.streams", "SLOW_MS", "milliseconds in which a stream's reader takes nothing before it is cut off"),
        ("asgi.streams", "SILENCE_MS", "milliseconds of silence before a stream pings"),
        ("asgi.auth", "REMEMBERED_MS", "milliseconds for which a good key is remembered"),
        ("asgi.auth", "RECHECK_MS", "milliseconds between two checks of an open stream's key"),
        ("dialects.lane_requests", "LONGEST_WAIT_SECONDS", "seconds that a claim or a report may wait"),
        ("asgi.native.ingest", "LONGEST_WAIT_SECONDS", "seconds that a batch of the native API may wait"),
        ("asgi.native.ingest", "LONGEST_REPORT_WAIT_SECONDS", "seconds that a report of the native API may wait"),
        ("model.lease", "DEFAULT_LEASE_SECONDS", "seconds of a lease whose worker did not say"),
        ("model.lease", "LONGEST_LEASE_SECONDS", "seconds of the longest lease"),
        ("engine.upkeep", "SWEEP_SECONDS", "seconds between two looks at leases, cancels and silent runs"),
        ("model.run", "WATCH_GRAIN_MS", "milliseconds by which the index of silent runs may lag behind"),
        ("engine.upkeep", "REPLY_LIFE_MS", "milliseconds for which the reply to an `Idempotency-Key` is kept"),
        (
            "store.sqlite_reads",
            "LONGEST_SEARCH_MS",
            "milliseconds of a search through runs by `q`",
        ),
        ("server", "DRAIN_SECONDS", "seconds that requests in flight get at the end"),
    ],
    "What is held in memory": [
        ("engine.writer", "MAX_GROUP_COMMANDS", "commands in one commit"),
        ("engine.follow", "RING_FRAMES", "newest frames of a followed run"),
        ("engine.follow", "RING_BYTES", "bytes of those frames"),
        ("engine.follow", "MAX_CHUNK_BYTES", "bytes that a follower takes at a time, and one frame more"),
        ("engine.cache", "CACHED_ROWS", "rows of each kind that the writer remembers"),
        ("engine.cache", "CACHED_NODES", "history nodes that the writer remembers"),
        ("engine.cache", "CACHED_IDS", "event ids that the writer remembers"),
        ("engine.upkeep", "MAX_CANCELS", "cancels whose deadlines run at a time"),
        ("engine.watch", "MAX_JUMPS", "jumps of the wall clock that silence is corrected for"),
        ("asgi.limits", "WINDOWS_MAX", "callers whose rate is counted; the longest silent is forgotten first"),
        ("asgi.auth", "REMEMBERED_MAX", "keys that are remembered"),
    ],
    "What a client asks and waits for": [
        ("sdk.address", "RESPONSE_BYTES_MAX", "bytes of a reply, and of a line of a stream"),
        ("sdk.address", "TIMEOUT_S", "seconds for an exchange, unless the caller says otherwise"),
        ("sdk.address", "SILENCE_S", "seconds in which a stream may say nothing before it counts as broken"),
        ("sdk.address", "IDLE_MAX", "connections that are kept for the next request"),
        ("sdk.address", "RETRY_AFTER_MAX_S", "seconds that a server may tell a client to wait"),
        ("sdk.delivery", "BATCH_EVENTS", "events that a recorder sends at a time"),
        ("sdk.delivery", "BATCH_BYTES", "bytes that a recorder sends at a time, unless one event has more"),
        ("sdk.delivery", "LONGEST_PAUSE_S", "seconds between two tries of a recorder, unless the server asks for more"),
        ("sdk.recorder", "BEAT_S", "seconds after which a recorder gives a sign of life for a run that says nothing"),
        ("sdk.encoding", "EVENT_BYTES_MAX", "bytes of an event; a larger one is cut"),
        ("sdk.encoding", "DEPTH_MAX", "levels of a value that is not plain JSON"),
        ("sdk.encoding", "NAMES_KEPT", "names of steps, tools and models that are remembered as they are sent"),
        ("sdk.ids", "TAILS_AT_ONCE", "ids that randomness is fetched for at a time"),
        ("sdk.recorder", "MEMORY_BYTES", "bytes of events in a recorder's memory, unless it is given another number"),
        ("sdk.buffer", "MEMORY_EVENTS_MAX", "events in a recorder's memory"),
        ("sdk.recorder", "SPOOL_BYTES", "bytes of a recorder's spool, unless it is given another number"),
        ("sdk.losses", "RANGES_MAX", "ranges of dropped events that wait to be told; past it they are only counted"),
        ("sdk.inbox", "ANSWERS_MAX", "answers that may wait for a question of their run"),
        ("sdk.inbox", "REMEMBERED_MAX", "commands of a run that are remembered, so that none acts twice"),
        ("sdk.follow", "PATIENCE_S", "seconds for which a follower looks for a server that is gone"),
        ("sdk.follow", "STRANGER_S", "seconds for which it looks for one that it has never met"),
    ],
    "What a run and a list may hold": [
        ("model.lease", "MAX_ATTEMPTS", "attempts before a run is lost"),
        ("model.run", "MAX_INPUTS", "inputs that wait for a run's agent"),
        ("model.run", "MAX_PENDING", "commands that wait for a run's agent"),
        ("model.run", "MAX_OPEN_TOOLS", "tool calls without a result; the oldest gives way"),
        ("model.run", "MAX_PARTS", "agents of a run that are told apart"),
        ("model.ledger", "MAX_CLIENTS", "clients of a run whose numbers are counted"),
        (
            "model.ledger",
            "MAX_RANGES",
            "ranges of numbers that are kept of a client",
        ),
        ("model.run", "MAX_OPEN_RUNS", "open runs that a thread remembers"),
        ("model.run", "MAX_THREAD_QUEUE", "runs of a thread that wait for workers or are held by them"),
        ("engine.reads", "MAX_LANES", "lanes that are looked at for a list of the queue"),
        ("engine.reads", "MAX_LANES_HELD", "held lanes that are looked at for a list of workers"),
        ("engine.cancels", "MAX_DESCENDANTS", "open runs below one that are cancelled with it"),
        ("dialects.run_requests", "LARGEST_PAGE", "rows of a page of `runs`"),
        ("dialects.activity", "LONGEST_TAIL", "newest events of an agent"),
        ("asgi.native.lists", "LARGEST_LIMIT", "rows of a page of the native API"),
        ("asgi.native.lists", "LARGEST_EVENT_LIMIT", "events of a page of the native API"),
    ],
}
"""Heading → (module, constant, what it bounds)."""

WORDS: dict[str, dict[Status, str]] = {
    "runs": runs.WORDS,
    "steps": steps.WORDS,
    "checkpoints": checkpoints.WORDS,
    "lanes": lanes.WORDS,
    "activity": activity.WORDS,
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
        for child in sorted(command.commands):
            texts += _help_of(command.commands[child], f"{name} {child}", context)
    return texts


def exit_codes() -> str:
    """What commands exit with."""
    return table(("Code", "Meaning"), ((str(code), meaning) for code, meaning in EXIT_CODES.items()))


def faults() -> str:
    """Every error, and its HTTP status in each dialect."""
    spoken: tuple[Dialect, ...] = (*DIALECTS, NATIVE)
    rows = []
    for kind in sorted(_family(errors.TowerlogError), key=lambda kind: (status_of(_made(kind)), kind.code)):
        error = _made(kind)
        statuses = [str(dialect.explain(error, "trace").status) for dialect in spoken]
        rows.append((f"`{kind.code}`", error.message, "yes" if kind.retryable else "", *statuses))
    names = [dialect.name for dialect in DIALECTS] + ["native"]
    return table(("Code", "Meaning", "Again?", *names), rows)


def _family(kind: type[errors.TowerlogError]) -> list[type[errors.TowerlogError]]:
    """The classes below one, those that are raised."""
    return [found for child in kind.__subclasses__() for found in (child, *_family(child))]


def _made(kind: type[errors.TowerlogError]) -> errors.TowerlogError:
    return errors.NotFound("run") if kind is errors.NotFound else kind()


def events() -> str:
    """Every type of event."""
    assert set(EVENTS) == set(EventType), "say what each type of event means"
    rows = []
    for kind in EventType:
        target = TARGET_STATUS.get(kind)
        rows.append((f"`{kind}`", EVENTS[kind], f"`{target}`" if target else "", "yes" if kind in FEED_TYPES else ""))
    return table(("Type", "Meaning", "The run is then", "In the agent's feed"), rows)


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
    lines += [f"        {status} : {status}" for status in Status if status in OPEN]
    lines.append("    }")
    for status in Status:
        lines += [f"    open --> {status} : {moved}" for moved in moved_by[status]]
    lines += [f"    {status} --> [*]" for status in Status if status in TERMINAL]
    return "\n".join([*lines, "```"])


def words() -> str:
    """Each status in the words of each dialect."""
    rows = [(f"`{status}`", *(f"`{known[status]}`" for known in WORDS.values())) for status in Status]
    return table(("Status", *WORDS), rows)


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
        (page.method, f"`{page.path}`", "none" if page.public else "any", page.summary.rstrip("."))
        for page in Pages(metrics_public=False).routes()
    ]
    texts.append("## Pages\n\n" + table(("Method", "Path", "Scope", ""), pages))
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


SECTIONS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "exit-codes": exit_codes,
    "errors": faults,
    "events": events,
    "transitions": transitions,
    "drawing": drawing,
    "words": words,
    "routes": routes,
    "limits": limits,
}


def renewed(text: str) -> str:
    """A page with its generated parts written anew. Raises KeyError for a part that nobody knows."""
    return SECTION.sub(lambda found: found[1] + SECTIONS[found[2]]() + found[3], text)


def outdated() -> list[Path]:
    """Pages that do not say what the program says."""
    return [page for page in sorted(DOCS.rglob("*.md")) if renewed(page.read_text("utf-8")) != page.read_text("utf-8")]


def main(arguments: list[str]) -> int:
    """Writes or checks; the exit code."""
    stale = outdated()
    for page in stale:
        said = "out of date" if "--check" in arguments else "written"
        sys.stdout.write(f"{said}: {page.relative_to(DOCS.parent)}\n")
        if "--check" not in arguments:
            page.write_text(renewed(page.read_text("utf-8")), "utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
