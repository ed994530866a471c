"""PostgreSQL's own programs: they write the whole store into a file, and read it back.

A password is handed over in a file, since every user of a machine may see the arguments of its processes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from towerlog.errors import StorageFailed
from towerlog.store.placing import partial_beside, refuse_to_overwrite
from towerlog.store.postgres import connections
from towerlog.store.postgres.failures import storage_errors
from towerlog.store.postgres.schema import check_schema, refuse_unfinished

PLACES = ("/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql")
"""Where packages put the programs of each version."""
_QUIET = ("--no-password",)
MAX_WORDS = 500
"""Of what a program says of its failure."""


def program(name: str) -> str:
    """Where a program is. Raises FileNotFoundError, with the package that has it."""
    on_path = shutil.which(name)
    if on_path is not None:
        return on_path
    found = sorted(path for place in PLACES for path in Path(place).glob(f"*/bin/{name}"))
    if not found:
        raise FileNotFoundError(
            errno.ENOENT, "not installed; it comes with PostgreSQL's client programs (Debian: postgresql-client)", name
        )
    return str(found[-1])


@contextmanager
def reached_by(url: str) -> Iterator[str]:
    """An address for a program: a password stands in a file of its user alone, to the end of the block."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    password = unquote(parts.password or "") or options.pop("password", "")
    user, _, place = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{place}" if user else place
    with tempfile.NamedTemporaryFile("w", prefix="towerlog-pass-") as file:
        if password:
            file.write(f"*:*:*:*:{password.replace(chr(92), chr(92) * 2).replace(':', chr(92) + ':')}\n")
            file.flush()
            options["passfile"] = file.name
        query = f"?{urlencode(options, safe='/,')}" if options else ""
        # Not `urlunsplit`, which leaves the slashes of an empty host away.
        yield f"{parts.scheme}://{netloc}{parts.path}{query}"


def dump(url: str, schema: str, file: Path) -> None:
    """Writes all tables of a schema into a file, as of one moment, beside whoever writes them.

    Raises FileNotFoundError, StorageFailed.
    """
    options = ["--format=custom", "--no-owner", "--no-privileges", f"--schema={schema}", f"--file={file}"]
    with reached_by(url) as place:
        _run([program("pg_dump"), *_QUIET, *options, f"--dbname={place}"])


def dumped(url: str, target: Path) -> Path:
    """A dump of the store under a name of its own beside `target`, read back to its end.

    Raises FileExistsError, OSError where a file or a program is not there, SchemaMismatch, StorageFailed, Overloaded.
    """
    refuse_to_overwrite(target)
    schema = asyncio.run(_schema_of(url))
    partial = partial_beside(target)
    try:
        dump(url, schema, partial)
        read_whole(partial)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial


async def _schema_of(url: str) -> str:
    """The schema of a store that is complete."""
    with storage_errors():
        connection = await connections.connect(url, connections.READING)
        try:
            await check_schema(connection)
            await refuse_unfinished(connection)
            return str(await connection.fetchval("SELECT current_schema()"))
        finally:
            await connection.close()


def read_whole(file: Path) -> None:
    """Reads a dump to its end. Raises FileNotFoundError, StorageFailed where it is none, or is not whole."""
    _run([program("pg_restore"), f"--file={os.devnull}", str(file)])


def load(url: str, schema: str, file: Path, before: str, after: str) -> None:
    """Carries out `before`, what a dump has of a schema, and `after`: all of it in one transaction, or nothing.

    Raises FileNotFoundError, StorageFailed.
    """
    reading = [program("pg_restore"), "--no-owner", "--no-privileges", f"--schema={schema}", "--file=-", str(file)]
    into = [program("psql"), *_QUIET, "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
    steps = [f"--command={before}", "--file=-", f"--command={after}"]
    pipe = subprocess.PIPE
    with reached_by(url) as place, subprocess.Popen(reading, stdout=pipe, stderr=pipe) as source:
        command = [*into, *steps, f"--dbname={place}"]
        done = subprocess.run(command, stdin=source.stdout, stdout=subprocess.DEVNULL, stderr=pipe, check=False)
        assert source.stdout is not None
        source.stdout.close()
        assert source.stderr is not None
        said = source.stderr.read()
    if done.returncode:
        raise _failed("psql", done.stderr)
    if source.returncode:
        raise _failed("pg_restore", said)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise _failed(Path(command[0]).name, done.stderr)


def _failed(name: str, said: bytes) -> StorageFailed:
    lines = said.decode(errors="replace").strip().splitlines()
    return StorageFailed("; ".join(lines)[:MAX_WORDS] or f"{name} has failed")
