"""`towerlog doctor`: checks settings, store, disk, durability, clock and server, and reports what it measured."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec

from towerlog import __version__
from towerlog.ambient import SystemClock
from towerlog.asgi.process.allocator import set_up_allocator
from towerlog.cli.alert_checks import LATELY_MS, MAX_COUNTED, check_channels, check_messages, has_store
from towerlog.cli.connect import COMMANDS, address_of, client_of, local_key_explained, local_url
from towerlog.cli.database_checks import Finding, check_copies, check_database
from towerlog.cli.escapes import visible
from towerlog.cli.exits import FOUND_WRONG, NO_PERMISSION, words_of
from towerlog.cli.formatting import counted, duration, size
from towerlog.cli.measure import measure_disk, measure_ingest, scratch
from towerlog.cli.options import as_json
from towerlog.cli.output import answer, progress, say
from towerlog.cli.server_options import with_server_settings
from towerlog.config import BadSetting, Settings, database_path, doubts, is_shared
from towerlog.errors import SchemaMismatch, StoreTorn, TowerlogError
from towerlog.model.principal import Org
from towerlog.model.times import format_ms, parse_ms
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.endpoints import PAGE
from towerlog.sdk.api.fleet_shapes import LaneInfo
from towerlog.sdk.wire.address import Response
from towerlog.sdk.wire.errors import ApiError, BadAnswer, SdkError
from towerlog.sdk.wire.http import Http
from towerlog.sdk.wire.refusals import json_of
from towerlog.storage import opened_for_reading
from towerlog.store.space import AUTOMATIC, GUARD_SHARE, Space

_OBSTACLES = {
    "disk_full": ": its disk, its quota or the largest size of a file leaves no room for a write; make room",
    "writes_refused": ": its last write was refused; its log says why",
    "checkpoint_failed": ": its database takes no pages of the log; its log says why",
}
LITTLE_SPACE_BYTES = 1 << 30
SLOW_SYNC_MS = 50.0
WRONG_CLOCK_S = 5.0
ASK_S = 10.0
LONG_QUEUED_MS = 60_000  # who waits for longer has no worker that serves its agent, or too few
LOST_LATELY: dict[str, Any] = {"status": "lost", "age_ms": LATELY_MS, "verdict": None}
RUNNING: dict[str, Any] = {"status": "running", "age_ms": None, "verdict": "silent"}
MAX_LINE_CHARS = 1000
"""Of a line in a pipe, where nothing is wrapped that a program may look for."""


Check = Callable[[Settings, "str | None"], Iterator[Finding]]


@click.command()
@with_server_settings()
@click.option("--url", help="The server's address; default: TOWERLOG_URL, else that of the local server.")
@as_json
def doctor(settings: Settings, url: str | None, as_json: bool) -> None:
    """Checks settings, store, disk, durability, clock and server.

    Measuring syncs and ingest takes a few seconds and writes into a temporary folder beside the store. Exits with 1
    when a check is wrong, with 77 when that is only the key; a warning alone is not a failure.
    """
    set_up_allocator()  # as a server does: else each of its threads takes address space of its own
    findings: list[Finding] = []
    with progress("checking", len(CHECKS)) as done:
        for number, check in enumerate(CHECKS, 1):
            try:
                findings += check(settings, url)
            except OSError as error:
                # A folder that this user may not look into, above all: the other checks still tell something.
                findings.append(Finding(check.__name__.removeprefix("check_"), "wrong", words_of(error)))
            done(number)
    is_well = all(found.verdict != "wrong" for found in findings)
    fields = {
        "ok": is_well,
        "version": __version__,
        "checks": [msgspec.to_builtins(found) for found in findings],
        "figures": {name: figure for found in findings for name, figure in found.figures.items()},
    }
    answer(as_json, fields, lambda: show_findings(findings))
    if not is_well:
        wrong = {found.check for found in findings if found.verdict == "wrong"}
        raise SystemExit(NO_PERMISSION if wrong == {"key"} else FOUND_WRONG)


def show_findings(findings: Sequence[Finding]) -> None:
    """A line each; what is longer than the screen goes on below its beginning, since it says what to do."""
    checks, verdicts = (max(len(getattr(found, name)) for found in findings) for name in ("check", "verdict"))
    indent = checks + verdicts + 4
    width = max(shutil.get_terminal_size().columns if sys.stdout.isatty() else MAX_LINE_CHARS, indent + 20)
    for found in findings:
        head = f"{found.check.ljust(checks)}  {found.verdict.ljust(verdicts)}  "
        say(textwrap.fill(visible(found.message), width, initial_indent=head, subsequent_indent=" " * indent))


def check_settings(settings: Settings, _url: str | None) -> Iterator[Finding]:
    """They could be read, or this would not run; some deserve a warning."""
    yield Finding(
        "settings", "ok", f"data folder {settings.data_dir}; `towerlog serve` would listen on {local_url(settings)}"
    )
    if settings.host not in ("127.0.0.1", "::1", "localhost") and not settings.allowed_hosts:
        yield Finding("settings", "warn", f"listens on {settings.host} and accepts any host name: see allowed_hosts")
    if os.environ.get("TOWERLOG_URL") and not os.environ.get("TOWERLOG_API_KEY"):
        yield Finding("settings", "wrong", "TOWERLOG_URL is set and TOWERLOG_API_KEY is not")
    for doubt in doubts():
        yield Finding("settings", "warn", doubt)


KEEPS_ROOM = "sqlite3 towerlog.db 'PRAGMA auto_vacuum = INCREMENTAL; VACUUM'"
_UNREADABLE = (TowerlogError, OSError, SchemaMismatch, StoreTorn)
"""What keeps a store from being read."""


def _look(settings: Settings) -> tuple[list[Org], bool]:
    """The organisations in the store, and whether it gives room back. Raises one of `_UNREADABLE`."""

    async def look() -> tuple[list[Org], bool]:
        async with opened_for_reading(settings, SystemClock()) as store:
            await store.ping()
            return await store.orgs(), await store.gives_back()

    return asyncio.run(look())


def check_store(settings: Settings, _url: str | None) -> Iterator[Finding]:
    """Whether this version can read the store."""
    if is_shared(settings):
        yield from check_database(settings)
        return
    path = database_path(settings)
    if not path.exists():
        yield Finding("store", "warn", f"{path}: no store yet; the first start of the server creates it")
        return

    try:
        found, gives_back = _look(settings)
    except _UNREADABLE as error:
        yield Finding("store", "wrong", words_of(error))
        return
    taken = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*") if file.is_file())
    figures: dict[str, float] = {"store_bytes": taken}
    number = "1 organisation" if len(found) == 1 else f"{len(found)} organisations"
    said = f"{path}: {size(taken)}, {number}"
    if not gives_back:
        said += f"; it does not become smaller when something is erased: stop the server, then {KEEPS_ROOM}"
    yield Finding("store", "ok" if gives_back else "warn", said, figures)
    yield from check_copies(path.parent)


def check_disk(settings: Settings, _url: str | None) -> Iterator[Finding]:
    """How much space is left where the store is; a database server has its own."""
    if is_shared(settings):
        return
    folder = nearest(database_path(settings).absolute().parent)
    space = Space(folder, SystemClock().steady_ms, settings.disk_guard_mib)
    free, guard = space.free_bytes, space.guard_bytes
    verdict = "wrong" if space.is_low() else "warn" if free < guard + LITTLE_SPACE_BYTES else "ok"
    share = f"{100 // GUARD_SHARE} % of the disk, see " if settings.disk_guard_mib == AUTOMATIC else ""
    said = f"{size(free)} free in {folder}; below {size(guard)} ({share}disk_guard_mib) writes are refused"
    said += "" if verdict == "ok" else ": make room, or move the data folder"
    yield Finding("disk", verdict, said, {"disk_free_bytes": free, "disk_guard_bytes": guard})


def check_durability(settings: Settings, _url: str | None) -> Iterator[Finding]:
    """How long a sync takes, and how many events a second are durable on this disk."""
    if is_shared(settings):
        return
    clock = SystemClock()
    try:
        with scratch(nearest(database_path(settings).absolute().parent)) as folder:
            disk = measure_disk(folder, clock)
            ingest = asyncio.run(measure_ingest(folder, clock))
    except (TowerlogError, OSError) as error:
        yield Finding("durability", "wrong", f"cannot write beside the store: {words_of(error)}")
        return
    figures: dict[str, float] = {**msgspec.structs.asdict(disk), **msgspec.structs.asdict(ingest)}
    slow = disk.fsync_mean_ms > SLOW_SYNC_MS
    message = f"a sync takes {disk.fsync_mean_ms:.2f} ms, at most {disk.fsync_slowest_ms} ms"
    yield Finding("durability", "warn" if slow else "ok", message, figures)
    each = f"a single one takes {ingest.one_event_mean_ms:.2f} ms"
    yield Finding("ingest", "ok", f"{ingest.events_per_second:,} durable events a second in batches of 100; {each}")


def check_server(settings: Settings, url: str | None) -> Iterator[Finding]:
    """Whether the server answers, which version it is, and whether its clock agrees."""
    named = url or os.environ.get("TOWERLOG_URL")
    try:
        http = Http(address_of(settings, url), timeout_s=ASK_S)
    except ValueError as error:
        yield Finding("server", "wrong", str(error))
        return
    except (FileNotFoundError, SdkError) as error:
        yield Finding("server", "warn", words_of(error))
        return
    try:
        asked_at = SystemClock().now_ms() / 1000
        ready = http.request("GET", "/readyz")
        told_at = SystemClock().now_ms() / 1000
        version = str(json_of(http.request("GET", "/openapi.json"))["info"]["version"])
    except (KeyError, TypeError, BadAnswer):
        yield Finding("server", "wrong", f"what answers at {http.address} is not a Towerlog server")
        return
    except SdkError as error:
        # A server that was not named may just not be running.
        yield Finding("server", "wrong" if named else "warn", words_of(error))
        return
    finally:
        http.close()
    well = ready.status == 200 and version == __version__
    verdict = "ok" if well else "wrong" if ready.status != 200 else "warn"
    state = "is ready" if ready.status == 200 else f"is not ready: {_obstacle(ready)}"
    yield Finding("server", verdict, f"{http.address} {state}; version {version}, this command is {__version__}")
    yield from _clock(ready.headers.get("date"), asked_at, told_at)
    if b'"clock_off"' in ready.body:
        words = "the server's clock was set, or it was away: nothing is deleted for its age yet. If it is right now: "
        yield Finding("clock", "warn", f"{words}`towerlog retention confirm-clock`")


def _obstacle(ready: Response) -> str:
    """What `/readyz` says, and what to do about it where that is known."""
    try:
        said = msgspec.json.decode(ready.body)
    except msgspec.DecodeError:
        said = None  # a proxy before the server has answered
    word = said.get("status") if isinstance(said, dict) else None
    advice = _OBSTACLES.get(str(word), "")
    return f"{word or 'it answers'} ({ready.status}){advice}"


def _clock(date: str | None, asked_at: float, told_at: float) -> Iterator[Finding]:
    """Compares the clocks: the server's second lies somewhere between the question and the reply."""
    if not date:
        yield Finding("clock", "warn", "the server does not send its time")
        return
    second = parsedate_to_datetime(date).timestamp()
    skew_s = max(second - told_at, 0.0) or min(second + 1 - asked_at, 0.0)
    message = f"the clocks of the server and of this machine differ by at most {max(abs(skew_s), 1):.0f} s"
    figures = {"clock_skew_seconds": round(skew_s, 1)}
    yield Finding("clock", "ok" if abs(skew_s) <= WRONG_CLOCK_S else "warn", message, figures)


def check_key(settings: Settings, url: str | None) -> Iterator[Finding]:
    """Whether commands that ask a server have a valid key."""
    if not os.environ.get("TOWERLOG_API_KEY") and not has_store(settings):
        yield Finding("key", "warn", "no key: set TOWERLOG_API_KEY, or start a server here")
        return
    try:
        with client_of(settings, url) as client, local_key_explained(settings, COMMANDS):
            who = client.whoami()
    except (ApiError, BadSetting) as error:
        yield Finding("key", "wrong", str(error))
    except SdkError:
        # Reported by `check_server` already.
        return
    except (TowerlogError, OSError) as error:
        yield Finding("key", "wrong", words_of(error))
    else:
        yield Finding("key", "ok", f"scopes {', '.join(who.scopes)} in organisation {_org_name(settings, who.org_id)}")


def _org_name(settings: Settings, org_id: str) -> str:
    """An organisation of the store by its name; one of a server elsewhere by its id."""
    try:
        names = {one.org_id: one.name for one in _look(settings)[0]} if has_store(settings) else {}
    except _UNREADABLE:
        # `check_store` has reported it.
        names = {}
    return names.get(org_id, org_id)


def check_runs(settings: Settings, url: str | None) -> Iterator[Finding]:
    """Whether runs wait for a worker that does not come, and whether some were lost."""
    if not os.environ.get("TOWERLOG_API_KEY") and not has_store(settings):
        return
    try:
        with client_of(settings, url) as client:
            lanes = client.get_queue("queued").data
            lost, silent = (_count(client, **wanted) for wanted in (LOST_LATELY, RUNNING))
    except (SdkError, BadSetting, TowerlogError, OSError):
        # What keeps it from asking is reported by `check_server` and `check_key`.
        return
    now_ms = SystemClock().now_ms()
    waiting: dict[tuple[str, str], list[int]] = {}
    for lane in lanes:
        if lane.queued_at:
            whose = f"agent {lane.agent!r}" if lane.agent else "any agent"
            waiting.setdefault((whose, _why_it_waits(lane)), []).append(now_ms - parse_ms(lane.queued_at))
    findings = [
        Finding(
            "runs",
            "warn",
            f"{counted(len(ages), 'queued run')} for {agent}, waiting for {_longest(ages)}: {why}. "
            "See `towerlog queue` and `towerlog workers`",
        )
        for (agent, why), ages in sorted(waiting.items())
        if max(ages) > LONG_QUEUED_MS
    ]
    if lost:
        words = f"{counted(lost, 'run')} lost in the last 24 hours: `towerlog runs ls --status lost --since 24h`"
        findings.append(Finding("runs", "warn", words, {"runs_lost": lost}))
    if silent:
        words = f"{counted(silent, 'run')} running but silent: `towerlog runs ls --silent`"
        findings.append(Finding("runs", "warn", words, {"runs_silent": silent}))
    yield from findings or [
        Finding("runs", "ok", "no run has been queued for long, none was lost in the last 24 hours")
    ]


def _why_it_waits(lane: LaneInfo) -> str:
    if lane.busy_worker is not None:
        return f"the worker that serves it is busy ({lane.busy_worker})"
    return "no worker serves this agent" + ("" if lane.unserved else ", or too few do")


def _longest(ages: list[int]) -> str:
    return duration(max(ages)) if len(ages) == 1 else f"up to {duration(max(ages))}"


def _count(client: Client, status: str, age_ms: int | None, verdict: str | None) -> int:
    """How many of the newest runs with this status, and this verdict, there are."""
    since = None if age_ms is None else format_ms(max(SystemClock().now_ms() - age_ms, 0))
    found = islice(client.list_runs(PAGE, status=status, since=since), MAX_COUNTED)
    return sum(1 for run in found if verdict is None or (run.liveness and run.liveness.verdict == verdict))


CHECKS: tuple[Check, ...] = (
    check_settings,
    check_store,
    check_disk,
    check_durability,
    check_server,
    check_key,
    check_runs,
    check_messages,
    check_channels,
)


def nearest(folder: Path) -> Path:
    """The folder, or its nearest ancestor that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
