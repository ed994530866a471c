"""Where a browser goes once somebody is signed in. `ui/src/model/next.ts` has the same rule for the sign-in page; both
are tried with the same paths (`next_paths.json` beside the test)."""

from __future__ import annotations

MAX_NEXT_CHARS = 500
FIRST_PAGE, SIGN_IN_PAGE = "/", "/sign-in"


def next_path(path: str) -> str:
    """The path, when it is one of this server and not that of the sign-in page; else the first page.

    A second slash or a backslash would name another host, and browsers leave tabs and ends of lines out before they
    read an address.
    """
    is_own = path[:1] == "/" and path[1:2] not in ("/", "\\") and len(path) <= MAX_NEXT_CHARS
    is_plain = not any(char < " " or char == "\x7f" for char in path)
    return path if is_own and is_plain and not path.startswith(SIGN_IN_PAGE) else FIRST_PAGE
