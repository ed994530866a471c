"""Writes the blocking half of the SDK from its asyncio half, token by token.

    python tools/blocking_from_async.py            # write it
    python tools/blocking_from_async.py --check    # change nothing; exit with 1 when a file is out of date

`async` and `await` go, and names are replaced by a table. Words of docstrings that hold for one half alone are a table
too, whose every line must be of use. What differs in substance (sockets, waiting) stands in `wire/connection.py` and
`wire/async_connection.py`, which are written by hand.
"""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import tokenize
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SDK = ROOT / "src" / "towerlog" / "sdk"

FILES: Mapping[str, str] = {
    "wire/async_http.py": "wire/http.py",
    "api/async_follow.py": "api/follow.py",
    "api/async_caller.py": "api/caller.py",
    "api/alerts/async_calls.py": "api/alerts/calls.py",
    "api/approvals/async_calls.py": "api/approvals/calls.py",
    "api/members/async_calls.py": "api/members/calls.py",
    "api/retention/async_calls.py": "api/retention/calls.py",
    "api/async_client.py": "api/client.py",
    "integrations/clients/async_posts.py": "integrations/clients/posts.py",
}
"""Source → what is generated from it, both below `towerlog/sdk`."""

NAMES: Mapping[str, str] = {
    "AsyncCaller": "Caller",
    "AsyncAlerts": "Alerts",
    "AsyncApprovals": "Approvals",
    "AsyncMembers": "Members",
    "AsyncRetention": "RetentionCalls",
    "AsyncClient": "Client",
    "AsyncConnection": "Connection",
    "AsyncHost": "Host",
    "AsyncHttp": "Http",
    "AsyncIterator": "Iterator",
    "AsyncSignal": "Signal",
    "AsyncStream": "Stream",
    "_AsyncReply": "_Reply",
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "async_caller": "caller",
    "async_calls": "calls",
    "async_connection": "connection",
    "async_follow": "follow",
    "async_http": "http",
    "async_posts": "posts",
}

WORDS: Mapping[str, str] = {
    "HTTP/1.1 for asyncio: connections that are kept, deadlines, caps, TLS. `http` is generated from this module.": (
        "HTTP/1.1 for threads that may block: connections that are kept, deadlines, caps, TLS."
    ),
    "An `AsyncHttp` belongs to one event loop at a time and is shared by its tasks. Elsewhere, or after a fork, it": (
        "An `Http` may be shared by threads. After a fork the child"
    ),
    "begins with connections of its own. A request that is cancelled closes its connection.": (
        "begins with connections of its own."
    ),
    "Close it, or use `async with`.\n\n    After `close` the iteration ends.": (
        "Close it, or use `with`.\n\n    `close` may be called from another thread; the iteration then ends."
    ),
    "For asyncio; `follow` is generated from this module. The position is kept in a `Cursor`.": (
        "For threads that may block. The position is kept in a `Cursor`."
    ),
    "`AsyncCaller`: a request with its retries, for asyncio. `caller` is generated from this module.": (
        "`Caller`: a request with its retries, for threads that may block."
    ),
    "`AsyncClient`: every endpoint of a server for asyncio. `Client` is generated from this module.": (
        "`Client`: every endpoint of a server for threads that may block. `AsyncClient` has the same methods."
    ),
    "`AsyncMembers`: the calls of `AsyncClient` about members. `Members` is generated from this module.": (
        "`Members`: the calls of `Client` about members."
    ),
    "`AsyncAlerts`: the calls of `AsyncClient` about alerts. `Alerts` is generated from this module.": (
        "`Alerts`: the calls of `Client` about alerts."
    ),
    "`AsyncApprovals`: the calls of `AsyncClient` about approvals. `Approvals` is generated from this module.": (
        "`Approvals`: the calls of `Client` about approvals."
    ),
    "with one key, for one event loop; use it in an `async with`, or `close` it.": (
        "with one key. Threads may share it; use it in a `with`, or `close` it."
    ),
    "Requests of a wrapped asyncio client, and the streams that they return. `posts` is generated from this module.": (
        "Requests of a wrapped client, and the streams that they return."
    ),
    "requests under way fail with Unreachable, a `follow` ends.": (
        "requests under way in other threads fail with Unreachable, a `follow` ends."
    ),
}
"""What the asyncio half says → what the blocking half says, in docstrings."""

HEADER = "# Generated from {source} by tools/blocking_from_async.py: change the source, then run `make blocking`.\n"


STRINGS = frozenset({tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)})
"""Since Python 3.12 the text of an f-string is a token of its own."""


class Stale(Exception):
    """A line of a table is not used by any source."""


def translated(text: str) -> tuple[str, set[str]]:
    """The blocking twin of a source, not laid out yet, and which lines of the tables were used."""
    used: set[str] = set()
    begins = list(itertools.accumulate((len(line) for line in text.splitlines(keepends=True)), initial=0))
    parts: list[str] = []
    done = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        start, end = (begins[row - 1] + column for row, column in (token.start, token.end))
        if token.type == tokenize.NAME and token.string in ("async", "await"):
            # With the space that follows.
            end += len(text[end:]) - len(text[end:].lstrip(" "))
            other = ""
        elif token.type == tokenize.NAME and token.string in NAMES:
            used.add(token.string)
            other = NAMES[token.string]
        elif token.type in STRINGS:
            other = _reworded(token.string, used)
        else:
            continue
        parts += [text[done:start], other]
        done = end
    return "".join([*parts, text[done:]]), used


def _reworded(string: str, used: set[str]) -> str:
    for words, other in WORDS.items():
        if words in string:
            used.add(words)
            string = string.replace(words, other)
    for name, other in NAMES.items():
        # A name in `__all__`, and the one that an object gives itself in its `repr`.
        string = string.replace(f'"{name}"', f'"{other}"').replace(f"{name}(", f"{other}(")
    return string


def generated(source: Path) -> tuple[str, set[str]]:
    """The text of what is generated from a source, laid out as `make format` does."""
    text, used = translated(source.read_text("utf-8"))
    headed = HEADER.format(source=source.name) + text
    # The name tells the tools that this is a part of the package, wherever the source stands.
    name = "src/towerlog/sdk/generated.py"
    ordered = _tool(["ruff", "check", "--quiet", "--fix-only", "--select", "I", "--stdin-filename", name, "-"], headed)
    return _tool(["ruff", "format", "--quiet", "--stdin-filename", name, "-"], ordered), used


def _tool(command: list[str], text: str) -> str:
    path = Path(sys.executable).with_name(command[0])
    done = subprocess.run([str(path), *command[1:]], input=text, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


def outdated() -> dict[Path, str]:
    """The files that are not what their sources say, with the text that they should have. Raises Stale."""
    found: dict[Path, str] = {}
    used: set[str] = set()
    for source, target in FILES.items():
        text, of_it = generated(SDK / source)
        used |= of_it
        if not (SDK / target).exists() or (SDK / target).read_text("utf-8") != text:
            found[SDK / target] = text
    if unused := {*NAMES, *WORDS} - used:
        raise Stale(f"not in any source any more: {sorted(unused)}")
    return found


def main(arguments: list[str]) -> int:
    """Writes or checks; the exit code."""
    stale = outdated()
    for target, text in stale.items():
        said = "out of date" if "--check" in arguments else "written"
        sys.stdout.write(f"{said}: {target.relative_to(ROOT)}\n")
        if "--check" not in arguments:
            target.write_text(text, "utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
