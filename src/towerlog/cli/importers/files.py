"""Files to import: which there are, and of which program they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from towerlog.cli.importers import claude_code, codex, langfuse, langsmith
from towerlog.cli.importers.events import ImportedEvent
from towerlog.cli.importers.sources import MAX_WHOLE_BYTES, Source
from towerlog.errors import Malformed

MAX_FILES = 100_000
"""Files of one import."""
LOOKED_AT = 20
"""Values of a file by which it is recognised: sessions begin with entries of several kinds."""

ENDINGS = (".jsonl", ".json")
"""Of the files in a folder that are imported, if they are of a program."""

Skipped = Callable[[str], None]


class Format(NamedTuple):
    """Files of a program."""

    recognizes: Callable[[Any], bool]
    read: Callable[[Source, Skipped], Iterator[ImportedEvent]]
    is_whole: bool
    """Its traces are put together before the first event."""


FORMATS: dict[str, Format] = {
    claude_code.NAME: Format(claude_code.recognizes, claude_code.read, False),
    codex.NAME: Format(codex.recognizes, codex.read, False),
    langfuse.NAME: Format(langfuse.recognizes, langfuse.read, True),
    langsmith.NAME: Format(langsmith.recognizes, langsmith.read, True),
}


def events_in(source: Source, name: str, skipped: Skipped) -> Iterator[ImportedEvent]:
    """The events of a file of this format. Raises Malformed, OSError."""
    form = FORMATS[name]
    if form.is_whole and source.path.stat().st_size > MAX_WHOLE_BYTES:
        raise Malformed(f"{source.path}: is larger than {MAX_WHOLE_BYTES} bytes; export fewer traces at a time")
    return form.read(source, skipped)


def format_of(source: Source) -> str | None:
    """Of which program a file is; None for an empty one. Raises Malformed where it is of none, OSError."""
    place = -1
    for place, (_, value) in enumerate(source()):
        found = next((name for name, form in FORMATS.items() if form.recognizes(value)), None)
        if found is not None:
            return found
        if place >= LOOKED_AT:
            break
    if place < 0 and not source.bad_lines:
        return None
    if place < 0:
        raise Malformed(f"{source.path}: is neither JSON nor lines of JSON: line 1 {source.bad_lines.get(1)}")
    raise Malformed(f"{source.path}: is no file of {', '.join(FORMATS)}; if it is one, say which with --format")


def found_in(named: Sequence[Path]) -> list[Path]:
    """The files that are named, and those in the folders that are; older ones first, and sub-agents behind sessions.

    So a history that was copied counts in the session that it is of. Raises Malformed for too many, OSError.
    """
    files: dict[Path, None] = {}
    for path in named:
        inside = (one for ending in ENDINGS for one in path.rglob(f"*{ending}") if one.is_file())
        for file in inside if path.is_dir() else [path]:
            files[file] = None
            if len(files) > MAX_FILES:
                raise Malformed(f"{path}: more than {MAX_FILES} files; import a part of them at a time")
    return sorted(files, key=_place)


def _place(file: Path) -> tuple[bool, int, str]:
    is_of_agent = "subagents" in file.parts or file.name.startswith("agent-")
    try:
        return is_of_agent, file.stat().st_mtime_ns, str(file)
    except OSError:  # it is gone meanwhile, which is said of it alone
        return is_of_agent, 0, str(file)
