"""What an error of SQLite means: a full disk passes, a failed write is final, a failed sync is final in any case."""

from __future__ import annotations

import errno

import apsw
import pytest

from towerlog.errors import DiskFull
from towerlog.store.sqlite.connections.failures import is_final, is_full, storage_failed


def io_error(extended: int) -> apsw.IOError:
    error = apsw.IOError("disk I/O error")
    error.result, error.extendedresult = apsw.SQLITE_IOERR, extended
    return error


WRITE, SYNC = apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_FSYNC


@pytest.mark.parametrize(
    ("error", "cause", "full", "final"),
    [
        (io_error(WRITE), errno.EIO, False, True),
        (io_error(WRITE), errno.ENOSPC, True, False),
        (io_error(WRITE), errno.EDQUOT, True, False),
        (io_error(WRITE), errno.EFBIG, True, False),
        (io_error(SYNC), errno.EIO, False, True),
        (io_error(SYNC), errno.ENOSPC, False, True),
        (io_error(SYNC), errno.EDQUOT, False, True),
        (io_error(apsw.SQLITE_IOERR_DIR_FSYNC), errno.EIO, False, True),
        (io_error(apsw.SQLITE_IOERR_TRUNCATE), errno.EIO, False, True),
        (io_error(apsw.SQLITE_IOERR_READ), errno.EIO, False, False),
        (apsw.FullError("full"), 0, True, False),
        (apsw.BusyError("busy"), 0, False, False),
    ],
)
def test_what_passes_and_what_is_final(error: apsw.Error, cause: int, full: bool, final: bool) -> None:
    assert (is_full(error, cause), is_final(error, cause)) == (full, final)


def test_it_is_said_in_words() -> None:
    assert storage_failed(apsw.FullError("database or disk is full"), None).message.startswith("the disk is full")
    assert isinstance(storage_failed(apsw.FullError("x"), None), DiskFull)
    assert storage_failed(io_error(SYNC), None).message == "a sync to disk failed"
    assert "read-only" in storage_failed(apsw.ReadOnlyError("x"), None).message
    assert storage_failed(apsw.BusyError("busy"), None).message.startswith("another program holds the lock")
