"""`towerlog worker` serves agents; `towerlog exec` reports a command. Both need only the SDK."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from towerlog.cli.connect import COMMANDS, WORKERS, local_key_explained, server_of
from towerlog.cli.escapes import visible_text
from towerlog.cli.exits import exit_code_of, exit_codes
from towerlog.cli.options import with_settings
from towerlog.cli.output import note
from towerlog.config import BadSetting, Settings, load_settings
from towerlog.sdk.record.backlog.destination import Destination
from towerlog.sdk.record.default import DEFAULT, default_recorder
from towerlog.sdk.wire.address import MovingUrl, Url
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.work import execute as execution
from towerlog.sdk.work.app import App
from towerlog.sdk.work.steering import GRACE_S
from towerlog.sdk.work.worker import Worker


@click.command(epilog=f"\b\nExit codes:\n{exit_codes()}")
@click.option("--app", "target", required=True, metavar="MODULE:OBJECT", help="The towerlog.App to serve.")
@click.option(
    "--concurrency", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Number of runs at a time."
)
@click.option("--labels", multiple=True, metavar="K=V", help="A label that runs may require; can be repeated.")
@click.option(
    "--lease-seconds",
    type=click.IntRange(1, 3600),
    default=60,
    show_default=True,
    help="How long a claim lasts without a renewal. The server's own minimum is 60 by default; "
    "TOWERLOG_LANES_MIN_LEASE_SECONDS sets it.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="How long running agents may take after SIGTERM.",
)
@click.option("--url", help="The server's address; default: TOWERLOG_URL, else that of the local server.")
@with_settings()
def worker(settings: Settings, target: str, labels: tuple[str, ...], url: str | None, **numbers: Any) -> None:
    """Claims runs and calls the agents of an App for them, until SIGTERM or Ctrl-C.

    The key comes from TOWERLOG_API_KEY and needs the scope `worker`; for a server on this machine, a key of the data
    folder is used without it. The first SIGTERM starts the drain: no more runs are claimed, running agents get
    --drain-seconds, then their runs go back to the queue. A second SIGTERM ends the wait.
    """
    log_to_the_terminal()
    found, key = server_of(settings, url, WORKERS)
    # The runs that agents begin themselves are reported to the same server, from programs that they start as well.
    address: Url = exported(str(found))
    os.environ["TOWERLOG_API_KEY"] = key
    if isinstance(found, MovingUrl):
        address = MovingUrl(found.name, lambda: exported(found.now()))
        DEFAULT.report_to(Destination.of(address, key))
    app = load_app(target)
    with local_key_explained(settings, WORKERS):
        asyncio.run(_work(app, address, key, labels=read_labels(labels), **numbers))


def exported(url: str) -> str:
    """The URL, which programs that are started from now on find in the environment."""
    os.environ["TOWERLOG_URL"] = url
    return url


class VisibleFormatter(logging.Formatter):
    """Lines of the log with control characters as escapes: ids and errors in them come from servers and agents."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it a traceback if there is one."""
        return visible_text(super().format(record))


def log_to_the_terminal() -> None:
    """The log of a worker goes to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


async def _work(app: App, url: Url, key: str, **options: Any) -> None:
    """`options` as a `Worker` has them."""
    try:
        http = AsyncHttp(url, key)
        made = Worker(app, http, **options)
    except ValueError as error:
        raise BadSetting(str(error)) from None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, made.stop)
    note(f"worker {made.worker_id} serves {', '.join(app.names)} at {http.address}")
    await made.run()


def load_app(target: str) -> App:
    """The App at `module:object`, looked for in the working folder first. Raises UsageError in words."""
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise click.UsageError(f"--app is MODULE:OBJECT, not {target!r}")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only the module itself: if that fails to import another one, its author needs the whole traceback.
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        raise click.UsageError(
            f"--app: there is no module {module_name!r} in the working folder or among the installed packages"
        ) from None
    where = f"module {module_name}"
    for name in path.split("."):
        if not hasattr(found, name):
            raise click.UsageError(f"--app: {where} has no {name!r}")
        found, where = getattr(found, name), f"{where}: {name}"
    if not isinstance(found, App):
        raise click.UsageError(f"--app: {target} is a {type(found).__name__}, not a towerlog.App")
    return found


def read_labels(given: tuple[str, ...]) -> dict[str, str]:
    """`K=V` each."""
    labels: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.UsageError(f"--labels is K=V, not {text!r}")
        labels[name] = value
    return labels


@click.command(
    "exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Exits with the command's own exit code; with 128 plus the signal's number if a signal ended it, 127 if "
    "there is no such command, 126 if it cannot be run, 1 if it ended well and its output could not be written.",
)
@click.option("--agent", default="exec", show_default=True, help="The agent of the run.")
@click.option("--thread", help="The thread of the run; default: a new one.")
@click.option("--hide-arguments", is_flag=True, help="Report only the command's name.")
@click.option(
    "--grace-seconds",
    type=click.FloatRange(0, 3600),
    default=GRACE_S,
    show_default=True,
    help="How long the command may take to end after a cancel, before SIGKILL.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
def execute(command: tuple[str, ...], grace_seconds: float, **named: Any) -> None:
    """Runs a command and reports it as a run.

    A cancel of the run is SIGTERM to the command and all that it has started, and SIGKILL after --grace-seconds; so is
    a kill. A pause stops them (SIGSTOP), a resume lets them go on (SIGCONT).

    The run has the command's start, end, exit code, duration, and the number of bytes that it printed. Input and output
    pass through unchanged and are not stored. The command runs whether or not the server can be reached; undelivered
    events are sent by the next program on this machine that reports to the same URL with the same key. The server and
    the key come from TOWERLOG_URL and TOWERLOG_API_KEY; the key needs the scope `ingest`. Without both, the run is
    reported to the server of the data folder with its key (`cli.key`), which the command that is run does not get. If
    that server is not running, the events are kept until `towerlog spool adopt` says for whom.
    """
    _report_to_the_local_server()
    finished = execution.execute(command, default_recorder, grace_s=grace_seconds, say=note, **named)
    if finished.error is not None:
        with contextlib.suppress(OSError):  # it may be standard error that cannot be written; the exit code says so too
            note(f"towerlog: {finished.error}")
    raise SystemExit(finished.exit_code)


def _report_to_the_local_server() -> None:
    """As other commands: where the environment names neither a server nor a key, those of the data folder, if it has a
    store. Whatever is wrong with it, the command that is to be run is run."""
    if os.environ.get("TOWERLOG_URL") or os.environ.get("TOWERLOG_API_KEY"):
        return
    try:
        DEFAULT.report_to(Destination.of(*server_of(load_settings({}), None, COMMANDS)))
    except FileNotFoundError:
        pass  # no store: the SDK says that there is no key
    except Exception as error:
        if exit_code_of(error) is None:
            raise
        note(f"towerlog: {error}")
