"""The laws of size, rooms and direction over `clients/typescript/src`, as far as the text of a module shows them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from tests.tidy.rooms import FOLDER_FILES

SOURCES = "clients/typescript/src/"
MODULE_LINES = 400
FUNCTION_LINES = 60
WRITTEN = "// Written by "
"""How a module begins that a tool writes: it may be of any size."""
LAYERS = (
    ("ai", "compat"),
    ("node", "browser"),
    ("exports",),
    ("towerlog",),
    ("api", "record"),
    ("values",),
    ("wire",),
    ("platforms",),
    ("platform",),
)
"""From the top: a module imports from layers below its own. Rooms of one layer do not know each other."""
NODE_ALONE = ("node:",)
"""What `platforms/node` may import beside the modules of the package."""

_IMPORT = re.compile(r'^(?:import|export)\b[^;]*?from "([^"]+)"|^import "([^"]+)"', re.MULTILINE)
_BEGIN = re.compile(r"^( *)(?:export )?(?:async )?(?:function\b|(?:static )?(?:async )?\*?#?\w+(?:<[^>]*>)?\([^;]*\{$)")


def complaints(path: str, text: str) -> Iterator[str]:
    """What is wrong with one module."""
    if text.startswith(WRITTEN):
        return
    lines = text.splitlines()
    if not text.startswith("/**"):
        yield f"{path}: begin it with a comment that says what it owns"
    if len(lines) > MODULE_LINES:
        yield f"{path}: {len(lines)} lines, the law is {MODULE_LINES}"
    yield from _long_functions(path, lines)
    yield from _upward_imports(path, text)


def crowded(paths: Iterable[str]) -> Iterator[str]:
    """Folders with more modules than a folder may have."""
    counted = Counter(str(PurePosixPath(path).parent) for path in paths)
    for folder, count in sorted(counted.items()):
        if count > FOLDER_FILES:
            yield f"{folder}: {count} modules, the law is {FOLDER_FILES}"


def _long_functions(path: str, lines: list[str]) -> Iterator[str]:
    for start, line in enumerate(lines):
        found = _BEGIN.match(line)
        if found is None:
            continue
        # The first line after it that ends a block at its own depth.
        closing = found[1] + "}"
        end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith(closing)), start)
        if end - start + 1 > FUNCTION_LINES:
            yield f"{path}:{start + 1}: {end - start + 1} lines, the law is {FUNCTION_LINES}"


def _upward_imports(path: str, text: str) -> Iterator[str]:
    own = _layer_of(path)
    for found in _IMPORT.finditer(text):
        target = found[1] or found[2]
        if not target.startswith("."):
            if path != f"{SOURCES}platforms/node.ts" or not target.startswith(NODE_ALONE):
                yield f"{path}: imports `{target}`; the package has no dependencies"
            continue
        there = PurePosixPath(path).parent.joinpath(target).as_posix()
        inside = _layer_of(_resolved(there))
        is_same_room = _room_of(_resolved(there)) == _room_of(path)
        if inside < own or (inside == own and not is_same_room):
            yield f"{path}: imports `{target}`, which is not below it"


def _resolved(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _room_of(path: str) -> str:
    return path.removeprefix(SOURCES).partition("/")[0].partition(".")[0]


def _layer_of(path: str) -> int:
    room = _room_of(path)
    return next((number for number, rooms in enumerate(LAYERS) if room in rooms), -1)
