"""Pieces of the program's source that are replaced as a process imports them: how a fault is planted from its start.

A module stands for itself: whatever was made of a constant or a table as it was imported is made of the changed one. A
piece that is not there exactly once is an error at the import, so that a fault whose place has moved cannot pass for
one that was found.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

REPLACED = "FAULTY_SOURCE"
"""The variable that says what is replaced: JSON, module → [[old, new], …]."""


def replaced(source: str, old: str, new: str) -> str:
    """The source with the one piece changed. Raises LookupError where it is not there, or more than once."""
    if source.count(old) != 1:
        raise LookupError(f"{source.count(old)} times in the source, and not once: {old!r}")
    return source.replace(old, new)


class ChangedSource(SourceFileLoader):
    """Loads a module of its changed source, past whatever was compiled before."""

    def __init__(self, name: str, path: str, changes: Sequence[tuple[str, str]]) -> None:
        super().__init__(name, path)
        self._changes = changes

    def get_code(self, fullname: str) -> CodeType:
        """The code of the changed source."""
        path = self.get_filename(fullname)
        source = self.get_data(path).decode("utf-8")
        for old, new in self._changes:
            source = replaced(source, old, new)
        return compile(source, path, "exec", dont_inherit=True)


class Finder:
    """Finds the modules that are changed; all others are found as always."""

    def __init__(self, changes: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        self._changes = changes

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a changed module is."""
        if name not in self._changes:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = ChangedSource(name, spec.origin, self._changes[name])
        return spec


def replace_on_import() -> None:
    """From now on, what the environment names is imported changed."""
    changes: dict[str, Any] = json.loads(os.environ.get(REPLACED) or "{}")
    if changes:
        sys.meta_path.insert(0, Finder(changes))
