"""A program in whose place a launcher starts another one: hands over all it has been given, and ends as that one does.

    python -IS relay.py DOOR PROGRAM ARGUMENT…

Run by its path, with nothing but the standard library: what it imports is all that a command of a shell costs.
"""

import contextlib
import json
import os
import signal
import socket
import sys

HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def start(door: str, program: str, arguments: list[str]) -> socket.socket:
    """Has the launcher behind `door` start it; what is returned tells its number, and then how it has ended."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = json.dumps([program, arguments, dict(os.environ), os.getcwd()]).encode()
    with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(door)
        socket.send_fds(asking, [request], [theirs.fileno(), 1, 2, 0])
    return ours


def main(door: str, program: str, *arguments: str) -> None:
    """Signals reach the program, and its exit code, or the signal that has ended it, is this one's."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
    told = start(door, program, list(arguments))
    pid = int(told.recv(64))

    def hand_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in HANDED_ON:
        signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
    code = int(told.recv(64))
    if code < 0:
        for number in HANDED_ON:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
