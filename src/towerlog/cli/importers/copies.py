"""What of a session was copied from another one, as programs do that resume or fork it: it counts where it came first.

What stands in which run is remembered from import to import, in a file for each server and key: entries of 16 bytes,
the digests of a name in a session file (of an entry, of a message of the model) and of its run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

MAX_ITEMS = 1_000_000
"""Names that are remembered, 16 MB in the file; of more than these, copies count again."""
_WORD = 8
_RECORD = 2 * _WORD


class Copies:
    """Which run has what."""

    def __init__(self, file: Path | None = None) -> None:
        """`file`: where it is remembered; None: in this process alone."""
        self._file = file
        self._owners: dict[bytes, bytes] = {}
        self._new: dict[bytes, bytes] = {}
        if file is not None and file.exists():
            with file.open("rb") as opened:
                told = opened.read(MAX_ITEMS * _RECORD)
            # The first one counts, and a record that was cut is none.
            for place in range(0, len(told) - _RECORD + 1, _RECORD):
                self._owners.setdefault(told[place : place + _WORD], told[place + _WORD : place + _RECORD])

    @property
    def is_full(self) -> bool:
        """Whether no more names are remembered."""
        return len(self._owners) + len(self._new) >= MAX_ITEMS

    def is_copy(self, name: str, run_key: str) -> bool:
        """Whether another run has what is named so; otherwise this one has it from now on."""
        item, run = _digest(name), _digest(run_key)
        owner = self._owners.get(item) or self._new.get(item)
        if owner is None and not self.is_full:
            self._new[item] = run
        return owner is not None and owner != run

    def keep(self) -> None:
        """What was found since is in its runs now. Raises OSError where it cannot be written."""
        if self._file is not None and self._new:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._file.open("ab") as opened:
                opened.write(bytes(-opened.tell() % _RECORD))  # what an import that was stopped has cut
                opened.write(b"".join(item + run for item, run in self._new.items()))
        self._owners |= self._new
        self._new = {}

    def forget(self) -> None:
        """What was found since has not arrived."""
        self._new = {}


def copies_file(folder: Path, server: str, key: str) -> Path:
    """The file for what a key has sent to a server."""
    return folder / "imported" / hashlib.sha256(f"{server}\n{key}".encode()).hexdigest()[:32]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[:_WORD]
