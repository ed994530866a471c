"""Which errno the disk gave for a page that it did not hand out: of the database's file and of its log.

SQLite calls such a page malformed. Each of its two files keeps the errno of its last call that failed, and a read that
ends at the end of the file makes it forget that. Both are methods of SQLite's interface to files,
`sqlite3_io_methods`.
"""

from __future__ import annotations

import ctypes
import errno

import apsw

_UNREAD = frozenset({errno.EIO, errno.ENXIO, errno.ERANGE})
"""Of a read, SQLite takes these for damage of the file system, and every other one for itself."""
_BEHIND_THE_END = 1 << 46
"""A place in a file that no file reaches; SQLite's largest database ends before it on every file system."""
_Read = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_Control = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class _Methods(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("close", ctypes.c_void_p),
        ("read", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("truncate", ctypes.c_void_p),
        ("sync", ctypes.c_void_p),
        ("size", ctypes.c_void_p),
        ("lock", ctypes.c_void_p),
        ("unlock", ctypes.c_void_p),
        ("is_reserved", ctypes.c_void_p),
        ("control", ctypes.c_void_p),
    ]


def take_errno(db: apsw.Connection) -> int:
    """The errno of a read that failed since this was asked last on this connection; 0 where none did.

    To be called in the connection's thread, after an error of it.
    """
    found = [_taken(file) for file in map(_file, [db] * 2, _FILES) if file]
    return next((one for one in found if one in _UNREAD), 0)


_FILES = (apsw.SQLITE_FCNTL_FILE_POINTER, apsw.SQLITE_FCNTL_JOURNAL_POINTER)


def _file(db: apsw.Connection, which: int) -> int:
    """SQLite's object for a file; 0 where there is none."""
    place = ctypes.c_void_p(0)
    try:
        db.file_control("main", which, ctypes.addressof(place))
    except apsw.Error:
        return 0
    return place.value or 0


def _taken(file: int) -> int:
    methods_at = ctypes.c_void_p.from_address(file).value
    if not methods_at:
        return 0  # it is not open
    methods = _Methods.from_address(methods_at)
    kept = ctypes.c_int(0)
    _Control(methods.control)(file, apsw.SQLITE_FCNTL_LAST_ERRNO, ctypes.addressof(kept))
    if kept.value:
        nothing = ctypes.create_string_buffer(1)
        _Read(methods.read)(file, ctypes.addressof(nothing), 1, _BEHIND_THE_END)
    return kept.value
