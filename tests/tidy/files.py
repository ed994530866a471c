"""What holds for every file of the repository, source or not: size, line ends, and what may not be written in it."""

import re
from collections.abc import Iterator

FILE_BYTES = 1024 * 1024

# Written in pieces, since these files are checked as well.
_UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
_MACHINE_PATHS = tuple("/".join(parts) for parts in (("", "work", ""), ("", "tmp", "brief"), ("..", "shared")))
_REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("py" + "pi", "org"),
        ("pythonho" + "sted", "org"),
        ("registry", "np" + "mjs"),
        ("registry", "yarn" + "pkg"),
        ("deb", "deb" + "ian"),
        ("proxy", "go" + "lang"),
    )
)


def text_of(content: bytes) -> str | None:
    """The file's text, or None for a binary file."""
    if b"\0" in content:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def oversized(path: str, content: bytes) -> Iterator[str]:
    """A file that every clone would pay for."""
    if len(content) > FILE_BYTES:
        yield f"{path}: {len(content)} bytes, the law is {FILE_BYTES}; make it at set-up, or keep it out of git"


def unended(path: str, content: bytes) -> Iterator[str]:
    """A text file without a last newline, or with line ends of two kinds."""
    text = text_of(content)
    if text and not text.endswith("\n"):
        yield f"{path}: end the file with a newline"
    if text and "\r\n" in text:
        yield f"{path}: end lines with a line feed alone"


def unfinished(path: str, content: bytes) -> Iterator[str]:
    """A note to do it later: it is an issue, or it is done now."""
    for number, line in _lines(content):
        if found := _UNFINISHED.search(line):
            yield f"{path}:{number}: `{found.group()}`: do it now, or file an issue and take the note out"


def machine_path(path: str, content: bytes) -> Iterator[str]:
    """A path that exists on one machine only."""
    for number, line in _lines(content):
        for words in _MACHINE_PATHS:
            if words in line:
                yield f"{path}:{number}: names `{words}`, which exists on one machine only; write a relative path"


def registry_host(path: str, content: bytes) -> Iterator[str]:
    """A package registry by its address: which one is used is the machine's choice."""
    for number, line in _lines(content):
        for host in _REGISTRY_HOSTS:
            if host in line:
                yield f"{path}:{number}: names `{host}`; name the package, and leave the registry to the machine"


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    return enumerate((text_of(content) or "").splitlines(), start=1)
