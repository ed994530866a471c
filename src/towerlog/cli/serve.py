"""`towerlog serve`: runs the server, and prints where it listens."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import IO

import click

from towerlog import __version__
from towerlog.cli.exits import exit_codes
from towerlog.cli.key_file import write_key
from towerlog.cli.options import settings_table
from towerlog.cli.output import note, say, show_key
from towerlog.cli.server_options import with_server_settings
from towerlog.config import Settings, database_path
from towerlog.server import Started, run
from towerlog.storage import database_name

EPILOG = f"""\b
Settings, as environment variables. TOWERLOG_NAME_FILE names a file that holds
the value; the file of --config has them in lower case, without the prefix:
{settings_table()}

\b
Exit codes:
{exit_codes()}
"""


ADMIN_KEY_FILE = "admin.key"


@click.command(epilog=EPILOG)
@with_server_settings("host", "port", "wake", "workers")
def serve(settings: Settings) -> None:
    """Runs the server until SIGTERM or Ctrl-C.

    The first start creates the organisation "default" and prints its admin key, which cannot be shown again. Under
    systemd the key is written to admin.key in the data folder instead, since the journal would keep it, and so it is
    where standard output is closed or leads to /dev/null. On a terminal,
    and without a key of your own (TOWERLOG_BOOTSTRAP_KEY), it also prints an address that signs the first member in to
    the dashboard, once; elsewhere `towerlog open --print` makes one. Logs are JSON lines on standard error.
    """

    def announce(started: Started) -> None:
        greet(started, database_path(settings).absolute(), database_name(settings))

    raise SystemExit(run(settings, announce))


def greet(started: Started, database: Path, name: str = "") -> None:
    """Prints where the server listens, and the key if this start has created one. `name`: of the store, for people."""
    if started.has_ended:
        say(f"Towerlog {__version__} has ended within its first start. Its store is made.")
    else:
        say(f"Towerlog {__version__} listens on {started.url}")
    say(f"  data   {name or database}")
    if not started.has_ended:
        say(f"  docs   {started.url}/docs")
    if started.sign_in_url is not None and not started.has_ended:
        say()
        # What is no terminal is kept as a log; who brings a key of their own wants nothing in it that signs in.
        if started.admin_key is None or not sys.stdout.isatty():
            say("First start. `towerlog open --print` prints an address that signs you in to the dashboard.")
        else:
            say("First start. Sign in to the dashboard, once and within an hour (later: `towerlog open`):")
            say(f"  {started.sign_in_url}")
    if started.admin_key is None:
        return
    file = database.with_name(ADMIN_KEY_FILE)
    if (is_journal(sys.stdout) or is_nothing(sys.stdout)) and write_key(file, started.admin_key):
        tell = note if is_nothing(sys.stdout) else say
        tell(f'The admin key of the organisation "default" is in {file}. Move it to a safe place.')
        return
    say()
    show_key(started.admin_key, what='The admin key of the organisation "default"')
    say()
    say("Set TOWERLOG_API_KEY to it, then try:")
    say(f'  curl -H "Authorization: Bearer $TOWERLOG_API_KEY" {started.url}/v1/runs')


def is_nothing(stream: IO[str]) -> bool:
    """Whether nobody ever reads what is written here: it was closed, or leads to the null device."""
    try:
        found = os.fstat(stream.fileno())
    except OSError:
        return False
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.stat(os.devnull).st_rdev


def is_journal(stream: IO[str]) -> bool:
    """Whether systemd's journal keeps what is written here. It names its stream as DEVICE:INODE in JOURNAL_STREAM."""
    try:
        found = os.fstat(stream.fileno())
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
