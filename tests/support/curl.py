"""The curl that printed commands are tried with: the few options that our pages use, as the real one has them.

A machine that runs the tests need not have curl. An option that is not known here fails, so that a page cannot use
what nobody has tried. `put_on_path` of the launcher makes it a command. With `REFUSALS_FAIL` set in its environment, an
HTTP error that is not looked at (`-i`) is a failure, as with `-f`.
"""

from __future__ import annotations

import argparse
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

HTTP_ERROR = 22
REFUSALS_FAIL = "TEST_CURL_REFUSALS_FAIL"
FORM = "application/x-www-form-urlencoded"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options and the address; ends the program on any other option."""
    parser = argparse.ArgumentParser(prog="curl", allow_abbrev=False)
    for flag in ("-s", "-S", "-N", "-i", "-f"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d")
    parser.add_argument("-X")
    parser.add_argument("-o")
    parser.add_argument("-w")
    parser.add_argument("-b")
    parser.add_argument("-c")
    parser.add_argument("url")
    return parser.parse_args(arguments)


def request_of(given: argparse.Namespace) -> urllib.request.Request:
    """The request that these options ask for."""
    headers = dict(header.split(": ", 1) for header in given.H)
    if given.b is not None:
        headers["Cookie"] = given.b if "=" in given.b else Path(given.b).read_text()
    body: bytes | None = None
    if given.d is not None:
        text = Path(given.d[1:]).read_text() if given.d.startswith("@") else given.d
        # Like curl, which takes line ends out of -d.
        body = text.replace("\n", "").replace("\r", "").encode()
        headers.setdefault("Content-Type", FORM)
    return urllib.request.Request(given.url, body, headers, method=given.X or ("GET" if body is None else "POST"))


def main(arguments: list[str]) -> int:
    """Prints the reply as it comes; the exit code."""
    given = parse(arguments)
    out = open(given.o, "wb") if given.o else sys.stdout.buffer  # noqa: SIM115 - the process ends with it
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        reply = opener.open(request_of(given), timeout=60)
    except urllib.error.HTTPError as error:
        reply = error
    if given.i:
        out.write(f"HTTP/1.1 {reply.status} {reply.reason}\r\n{reply.headers}".encode())
    if reply.status >= 400 and (given.f or (os.environ.get(REFUSALS_FAIL) and not given.i)):
        if not given.f:
            out.write(reply.read())
            out.flush()
        sys.stderr.write(f"curl: (22) The requested URL returned error: {reply.status}\n")
        return HTTP_ERROR
    while part := reply.read1(65536):
        out.write(part)
        out.flush()
    if given.c:
        cookies = [told.partition(";")[0] for told in reply.headers.get_all("Set-Cookie") or ()]
        Path(given.c).write_text("; ".join(cookies))
    if given.w:
        sys.stdout.write(given.w.replace("%{http_code}", str(reply.status)).replace("\\n", "\n"))
    return 0


def program() -> None:
    """Ends with the exit code."""
    sys.exit(main(sys.argv[1:]))
