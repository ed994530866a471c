"""`towerlog serve`: runs the server, and prints where it listens."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import click

from towerlog import __version__
from towerlog.cli.exits import exit_codes, explained
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

    raise SystemExit(run(settings, announce, explained))


def greet(started: Started, database: Path, name: str = "") -> None:
    """Prints where the server listens, and the key if this start has created one. `name`: of the store, for people.

    Where standard output takes nothing, all but the key is left out: the server is not there for who reads that.
    """
    if started.has_ended:
        tell(f"Towerlog {__version__} has ended within its first start. Its store is made.")
    else:
        tell(f"Towerlog {__version__} listens on {started.url}")
    tell(f"  data   {name or database}")
    if not started.has_ended:
        tell(f"  docs   {started.url}/docs")
    if started.sign_in_url is not None and not started.has_ended:
        tell()
        # What is no terminal is kept as a log; who brings a key of their own wants nothing in it that signs in.
        if started.admin_key is None or not sys.stdout.isatty():
            tell(f"First start. `{_open(database, '--print')}` prints an address that signs you in to the dashboard.")
        else:
            tell(f"First start. Sign in to the dashboard, once and within an hour (later: `{_open(database)}`):")
            tell(f"  {started.sign_in_url}")
    if started.admin_key is not None:
        _tell_key(started.admin_key, database.with_name(ADMIN_KEY_FILE), started.url)


def _open(database: Path, *options: str) -> str:
    """The command that signs in to this store, as it works in any shell: another one may have no setting of this."""
    return " ".join(("towerlog open", *options, "--data-dir", shlex.quote(str(database.parent))))


def _tell_key(key: str, file: Path, url: str) -> None:
    """Where nobody reads standard output, or many do, the key goes to the file, if that is not there yet."""
    if (is_journal(sys.stdout) or is_nothing(sys.stdout)) and _keep_key(key, file):
        return
    tell()
    if not _is_taken(lambda: show_key(key, what='The admin key of the organisation "default"')):
        _keep_key(key, file)
        return
    tell()
    tell("Set TOWERLOG_API_KEY to it, then try:")
    tell(f'  curl -H "Authorization: Bearer $TOWERLOG_API_KEY" {url}/v1/runs')


def _keep_key(key: str, file: Path) -> bool:
    if not write_key(file, key):
        return False
    told = f'The admin key of the organisation "default" is in {file}. Move it to a safe place.'
    if is_nothing(sys.stdout):
        _note(told)
    else:
        tell(told)
    return True


def tell(text: str = "") -> None:
    """Prints lines, where somebody takes them."""
    _is_taken(lambda: say(text))


def _is_taken(write: Callable[[], None]) -> bool:
    """Whether standard output took it. If not it leads to nothing from then on: what Python holds of it would
    fail once more as the process ends."""
    try:
        write()
    except OSError as error:
        with open(os.devnull, "w", encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        _note(f"towerlog: standard output cannot be written ({error.strerror}); the server goes on")
        return False
    return True


def _note(text: str) -> None:
    # Its reader may have gone with that of standard output.
    with contextlib.suppress(OSError):
        note(text)


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
