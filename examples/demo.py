"""What `make demo` runs: a server with an empty store, and small agents that feed it in every way there is.

The agents are the programs in `agents/`; they look at this project's own folder. Six speak a dialect, one is served by
`towerlog worker`, one reports with the SDK, one with `towerlog exec`. When nobody answers, an alert rule tells a
receiver of webhooks on this machine. Everything ends with Ctrl-C, SIGTERM or after `--seconds`. Without `--data-dir`
the data goes with it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
sys.path.insert(0, str(HERE / "agents"))

from printed import TOWERLOG, where_to_look  # noqa: E402 - as below
from receiver import Receiver  # noqa: E402 - as below
from wire import Refused, Wire, fresh_id, say  # noqa: E402 - the agents' folder is on the path only now

DEFAULT_PORT = 8700
READY_S = 20.0
FIRST_RUNS_S = 20.0
WAITING_RUNS_S = 45.0
STOP_S = 12.0
POLL_S = 0.1
WARNS_EARLY = {"action": "warn", "warn_at": 0.0002}
RULE = "demo: nobody answers"
WAITS_MINUTES = 0.1

AGENTS: dict[str, list[str]] = {
    "checkpoints": ["ingest"],
    "approvals": ["ingest"],
    "steps": ["ingest"],
    "activity": ["ingest"],
    "lanes": ["worker"],
    "worker": ["worker"],
    "recorded": ["ingest"],
    "commands": ["ingest"],
    "runs": ["read", "control"],
}
"""Program in `agents/` → the scopes of its key: each can do what it needs and no more."""
SERVED = ("worker", "--app", "worker:app", "--concurrency", "4", "--drain-seconds", "2")
"""`agents/worker.py` is no program but an app, and served by this. A run that waits for its answer holds a place."""
BEGUN_BY = {"checkpoints", "steps", "activity", "runs", "sdk"}
"""What the first run of each kind of program is told through; `sdk` is `towerlog exec` as well."""

Json = dict[str, Any]


class Ended(Exception):
    """Ctrl-C, SIGTERM, or a server that is gone."""


class Stop:
    """Whether the end was asked for. The signals only say so: one in the middle of a start would lose a child."""

    asked = False

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        """Ctrl-C or SIGTERM; a second one changes nothing."""
        self.asked = True

    def check(self) -> None:
        """Raises Ended once it was asked for."""
        if self.asked:
            raise Ended


STOP = Stop()


def main() -> int:
    signal.signal(signal.SIGTERM, STOP.ask)
    signal.signal(signal.SIGINT, STOP.ask)
    arguments = parse()
    folder = Path(arguments.data_dir or tempfile.mkdtemp(prefix="towerlog-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    children: list[subprocess.Popen[bytes]] = []
    receiver = Receiver(folder / "messages", told_of_message)
    code = 0
    try:
        code = demonstrate(folder, arguments, children, receiver)
    except Ended as ended:
        what, _, rest = str(ended).partition("\n")
        tell(what or "stopping …")
        print(rest, end="\n" if rest else "", flush=True)
        code = 1 if ended.args else 0
    finally:
        stop(children)
        receiver.stop()
        if arguments.data_dir:
            tell(f"the data stays in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return code


def tell(what: str) -> None:
    """A line of the demo's own, as those of the agents."""
    say("demo", what)


def told_of_message(message: Json) -> None:
    """A webhook has come."""
    say("webhook", f"{message['type']}: {message['message']}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="keep the data here; default: a temporary folder that is removed")
    parser.add_argument("--port", type=int, default=0, help=f"default: {DEFAULT_PORT}, or a free one when it is taken")
    parser.add_argument("--seconds", type=float, help="end after this many seconds; default: at Ctrl-C")
    return parser.parse_args()


def demonstrate(
    folder: Path, arguments: argparse.Namespace, children: list[subprocess.Popen[bytes]], receiver: Receiver
) -> int:
    """Starts everything, says where to look, and waits for the end."""
    tell("starting the server …")
    key = admin_key(folder)
    server, url = start_server(folder, key, arguments.port, children)
    wire = Wire(url, key)
    tell(f"it listens on {url}")
    receiver.start()
    make_rule(wire, receiver)
    tell(f"starting {len(AGENTS) - 1} agents, and an application that creates runs …")
    for name, scopes in AGENTS.items():
        STOP.check()
        made = wire.post("/api/v1/keys", {"name": f"demo {name}", "scopes": scopes})
        children.append(start_agent(name, Wire(url, made["key"]), folder))
    make_budget(wire)
    tell("waiting for their first runs …")
    runs = first_runs(wire)
    tell("queueing two runs that will ask a question …")
    waiting = waiting_runs(wire)
    first_message(receiver)
    tell("ready")
    print("\n".join(where_to_look(wire.url, wire.key, folder, runs, (open_approval(wire), *waiting))), flush=True)
    ends_at = time.monotonic() + (arguments.seconds or float("inf"))
    while time.monotonic() < ends_at:
        STOP.check()
        if server.poll() is not None:
            raise Ended(f"The server has ended. The end of its output:\n{last_words(folder)}")
        if any(child.poll() is not None for child in children):
            raise Ended("An agent has ended; its output is above.")
        time.sleep(POLL_S)
    return 0


def last_words(folder: Path) -> str:
    """The end of the server's output."""
    return "\n".join((folder / "server.log").read_text(errors="replace").splitlines()[-20:])


def admin_key(folder: Path) -> str:
    """The key that the first start of this store was given, or one for its first start."""
    file = folder / "demo.key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text("demo_" + (fresh_id() + fresh_id()).replace("-", "")[:40])
    return file.read_text().strip()


def start_server(
    folder: Path, key: str, port: int, children: list[subprocess.Popen[bytes]]
) -> tuple[subprocess.Popen[bytes], str]:
    """`towerlog serve` and the address that it has announced: the usual port, or any that is free when it is taken.

    Raises Ended when it does not start.
    """
    for number in (port,) if port else (DEFAULT_PORT, free_port()):
        environment = {
            **os.environ,
            "TOWERLOG_BOOTSTRAP_KEY": key,
            # Where the links of its messages lead, and that it may post to this machine.
            "TOWERLOG_PUBLIC_URL": f"http://127.0.0.1:{number}",
            "TOWERLOG_EGRESS_ALLOW": "127.0.0.1",
        }
        command = [TOWERLOG, "serve", "--port", str(number), "--data-dir", str(folder)]
        with (folder / "server.log").open("wb") as log:
            # A session of its own: Ctrl-C is for us, and we stop the server last.
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        children[:] = [server]
        url = announced_by(server, folder)
        if url is not None:
            return server, url
    raise Ended(f"The server did not start:\n{last_words(folder)}")


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        number: int = opened.getsockname()[1]
        return number


def announced_by(server: subprocess.Popen[bytes], folder: Path) -> str | None:
    """The address of a server that listens; None when it has ended instead. Raises Ended when it does neither."""
    for _ in tries(READY_S):
        found = re.search(r"listens on (http\S+)$", (folder / "server.log").read_text(errors="replace"), re.MULTILINE)
        if found:
            return found[1]
        if server.poll() is not None:
            return None
    raise Ended(f"The server was not ready after {READY_S:.0f} seconds:\n{last_words(folder)}")


def start_agent(name: str, wire: Wire, folder: Path) -> subprocess.Popen[bytes]:
    """One of the programs in `agents/`, looking at this project. What it cannot deliver stays in the demo's folder."""
    place = {"COUNTER_FOLDER": str(PROJECT), "XDG_STATE_HOME": str(folder / "state")}
    environment = {**os.environ, **place, "TOWERLOG_URL": wire.url, "TOWERLOG_API_KEY": wire.key}
    if name != "worker":
        program = [sys.executable, f"{name}.py", str(PROJECT)]
        return subprocess.Popen(program, cwd=HERE / "agents", env=environment, start_new_session=True)
    worker = subprocess.Popen(
        [TOWERLOG, *SERVED],
        cwd=HERE / "agents",
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    threading.Thread(target=show_log, args=(worker,), daemon=True).start()
    return worker


LOGGED = re.compile(r"[0-9-]{10} [0-9:,]{12} [A-Z]+ [a-z.]+: ")
"""What the log of `towerlog worker` begins its lines with."""


def show_log(worker: subprocess.Popen[bytes]) -> None:
    """The log of `towerlog worker` in the form of all others."""
    assert worker.stdout is not None
    for line in worker.stdout:
        say("worker", LOGGED.sub("", line.decode(errors="replace")).strip())


def make_rule(wire: Wire, receiver: Receiver) -> None:
    """A rule that tells the receiver when nobody answers an agent; of an earlier demo nothing listens any more."""
    for known in wire.get("/api/v1/alert-rules")["data"]:
        if known["name"] == RULE:
            wire.delete(f"/api/v1/alert-rules/{known['rule_id']}")
    made = wire.post(
        "/api/v1/alert-rules",
        {
            "name": RULE,
            "trigger": "waiting_too_long",
            "config": {"minutes": WAITS_MINUTES},
            "scope": {"agent": "publisher"},
            "channels": [{"type": "webhook", "target": receiver.url}],
        },
    )
    receiver.secret = made["channels"][0]["secret"]


def make_budget(wire: Wire) -> None:
    """A budget that warns early, and stops nothing; an earlier demo may have left it in this folder."""
    if not wire.get("/api/v1/budgets")["data"]:
        scope = {"organisation": True}
        wire.post("/api/v1/budgets", {"name": "demo", "scope": scope, "amount_usd": 1, "period": "day", **WARNS_EARLY})


def first_runs(wire: Wire) -> dict[str, Json]:
    """By what it was begun through, a run. Raises Ended when one does not come."""
    for _ in tries(FIRST_RUNS_S):
        found = {run["source"]: run for run in wire.get("/api/v1/runs?limit=50")["data"]}
        if set(found) >= BEGUN_BY:
            return found
    raise Ended(f"The agents reported nothing within {FIRST_RUNS_S:.0f} seconds.")


def waiting_runs(wire: Wire) -> list[str]:
    """Two runs of our own, claimed by `towerlog worker`: each will ask something, and wait for whoever reads this."""
    made = [create(wire, name, {"agent": "counter", "input": "."}) for name in ("to-answer", "to-cancel")]
    for _ in tries(WAITING_RUNS_S):
        if all(wire.get(f"/v1/runs/{run['run_id']}")["status"] == "waiting_for_input" for run in made):
            return [run["run_id"] for run in made]
    raise Ended(f"The worker claimed no run within {WAITING_RUNS_S:.0f} seconds.")


def create(wire: Wire, thread_id: str, asked: Json) -> Json:
    """A run in a thread where a new one takes the place of what an earlier demo has left there."""
    wire.post("/v1/threads", {"thread_id": thread_id, "policy": "cancel_previous"})
    made: Json = wire.post(f"/v1/threads/{thread_id}/runs", asked)
    return made


def open_approval(wire: Wire) -> str:
    """What the agent waits for that asks before it acts. Raises Ended when it asks nothing."""
    for _ in tries(FIRST_RUNS_S):
        found = [one for one in wire.get("/api/v1/approvals?kind=approval")["data"] if one["agent"] == "publisher"]
        if found:
            return str(found[-1]["approval_id"])
    raise Ended(f"Nobody asked for an approval within {FIRST_RUNS_S:.0f} seconds.")


def first_message(receiver: Receiver) -> None:
    """Waits for the webhook that tells of it. Raises Ended when none comes."""
    for _ in tries(FIRST_RUNS_S):
        if receiver.taken:
            return
    raise Ended(f"No webhook came within {FIRST_RUNS_S:.0f} seconds.")


def tries(seconds: float) -> Iterator[None]:
    """One turn every tenth of a second until the time is over. Raises Ended when the end was asked for."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        STOP.check()
        yield
        time.sleep(POLL_S)


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """Ends the agents, then the server; each gets the time to do it well."""
    for group in (children[1:], children[:1]):
        for child in group:
            send_to_all_of(child, signal.SIGTERM)
        for child in group:
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                send_to_all_of(child, signal.SIGKILL)
                child.wait()


def send_to_all_of(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """A signal for a child and for the commands that it runs: each child has a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refused as refused:
        sys.exit(f"The server refused the demo: {refused}")
