"""Governed: what ingest costs that budgets, rules and live push look at, against that of an organisation without any.

Rounds go without, with, without, with …, each on a fresh store. What else looks at every event joins `BURDENS`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench import servers
from bench.context import Context
from bench.corpus import compact
from bench.duel import Round, Shape, play_round
from bench.figures import Row
from bench.servers import Server, ServerFailed
from bench.sockets import Crowd
from bench.ways import AGENTS, CallsWay, StepsWay, Way
from bench.wire import Client

NAME = "governed"
SHAPE = Shape(connections=64, length=1, runs=1, size=1024)
WAYS: tuple[Way, ...] = (StepsWay(), CallsWay())
MIN_SHARE = 0.8
BUDGETS = 20
RULES = 50
MANY = 150
SOCKETS = 500
PERIODS = ("total", "hour", "day", "month")
# More than any round spends: it is counted, and nothing is stopped.
PLENTY_USD = 1_000_000
# Longer than any round: it is looked at, and nothing fires.
LONG = {"minutes": 1000}
CONFIGS: dict[str, dict[str, Any]] = {
    "error": {},
    "cost_threshold": {"amount_usd": PLENTY_USD},
    "waiting_too_long": LONG,
    "budget": {"fraction": 0.9},
    "burn_rate": {"amount_usd": PLENTY_USD, "window_minutes": 60},
    "stalled": LONG,
    "lost": {},
    "loop": {"times": 50},
    "failure_rate": {"fraction": 0.9, "window_minutes": 60},
    "queue_wait": LONG,
    "unserved": LONG,
}
"""Every trigger, with figures that are not reached."""

Request = tuple[str, dict[str, Any]]


def budgets() -> Iterator[Request]:
    """Path and body for each budget: four count every event, the others an agent's each."""
    for number in range(BUDGETS):
        period = PERIODS[number % len(PERIODS)]
        scope = {"organisation": True} if number < len(PERIODS) else {"agent": f"agent-{number - len(PERIODS)}"}
        body = {"name": f"budget {number}", "scope": scope, "amount_usd": PLENTY_USD, "period": period}
        yield "/api/v1/budgets", body | {"action": "pause"}


def rules() -> Iterator[Request]:
    """Path and body for each rule: all triggers in turn, the first of each about everything, the others an agent's."""
    for number in range(RULES):
        trigger = list(CONFIGS)[number % len(CONFIGS)]
        scope = {} if number < len(CONFIGS) else {"agent": f"agent-{number % AGENTS}"}
        body = {"name": f"rule {number}", "trigger": trigger, "scope": scope, "config": CONFIGS[trigger]}
        yield "/api/v1/alert-rules", body | {"channels": [{"type": "in_app"}]}


def of_others() -> Iterator[Request]:
    """As many budgets and rules as a key may make, each of an agent that sends nothing: none concerns any event."""
    for number in range(MANY):
        scope = {"agent": f"somebody-{number}"}
        body = {"name": f"other {number}", "scope": scope, "amount_usd": PLENTY_USD, "period": "day", "action": "pause"}
        yield "/api/v1/budgets", body
        trigger = list(CONFIGS)[number % len(CONFIGS)]
        body = {"name": f"other {number}", "trigger": trigger, "scope": scope, "config": CONFIGS[trigger]}
        yield "/api/v1/alert-rules", body | {"channels": [{"type": "in_app"}]}


def of_all() -> Iterator[Request]:
    """As many budgets of all that is spent, and rules about all of these."""
    for number in range(MANY):
        scope = {"organisation": True}
        body = {"name": f"all {number}", "scope": scope, "amount_usd": PLENTY_USD, "period": "day", "action": "pause"}
        yield "/api/v1/budgets", body
        body = {"name": f"all {number}", "trigger": "budget", "scope": {}, "config": {"fraction": 0.9}}
        yield "/api/v1/alert-rules", body | {"channels": [{"type": "in_app"}]}


class Burden(NamedTuple):
    """What governs an organisation."""

    name: str
    requests: tuple[Callable[[], Iterator[Request]], ...]
    """What makes it."""
    sockets: int = 0
    """Clients of live push. Those that follow no agent each wait for a run in which nothing happens."""
    followed: int = 0
    """Agents of which one of the sockets each hears all events."""
    min_share: float | None = MIN_SHARE


ALL = f"{BUDGETS} budgets, {RULES} rules and {SOCKETS} push sockets"
BURDENS = (
    Burden(f"{BUDGETS} budgets", (budgets,)),
    Burden(ALL, (budgets, rules), SOCKETS),
    Burden(f"{MANY} budgets and {MANY} rules of others", (of_others,)),
    # Each event moves all of them, and each of them is held against all rules.
    Burden(f"{MANY} budgets and {MANY} rules of all", (of_all,), min_share=None),
    # What is pushed has its own price, whatever else there is: one message for each event.
    Burden(f"{ALL}, each event pushed to one", (budgets, rules), SOCKETS, AGENTS, None),
)


def channels(client: Client, burden: Burden) -> list[str]:
    """The channel that each socket follows."""
    agents = [client.post("/api/v1/agents", compact({"name": f"agent-{n}"})).json() for n in range(burden.followed)]
    quiet = client.post("/v1/threads/quiet/runs", b"{}").json()["run_id"]
    heard = [f"private-agent.{agent['agent_id']}" for agent in agents]
    return heard + [f"private-run.{quiet}"] * (burden.sockets - len(heard))


@contextmanager
def governed(data_dir: Path, burden: Burden) -> Iterator[Server]:
    """A server whose organisation has all that a burden is made of."""
    with servers.towerlog(data_dir) as server, ExitStack() as held:
        with Client(server.port, server.key) as client:
            for requests in burden.requests:
                for path, body in requests():
                    client.post(path, compact(body))
            names = channels(client, burden) if burden.sockets else []
            crowd = held.enter_context(Crowd(server.port, client, names))
        yield server
        # The server has been stopped: whoever was cut off before that heard nothing of most of the round.
        if crowd.cut_off:
            raise ServerFailed(f"{crowd.cut_off} sockets of live push were cut off")


def rows_of(way: Way, burden: Burden, without: list[Round], within: list[Round]) -> list[Row]:
    """Rate and p99 of one way under one burden."""
    name = f"single POST, {way.name}, {burden.name}"
    rates = [[played.events_per_second for played in rounds] for rounds in (without, within)]
    waits = [[played.p99_ms for played in rounds] for rounds in (without, within)]
    cpu = [[round(played.cpu_us_per_event, 1) for played in rounds] for rounds in (without, within)]
    return [
        Row(
            NAME,
            name,
            "events/s",
            median(rates[1]),
            median(rates[0]),
            compares="ratio",
            against="without",
            bound="at least",
            threshold=burden.min_share,
            detail={"without": rates[0], "with": rates[1], "cpu_us_without": cpu[0], "cpu_us_with": cpu[1]},
        ),
        Row(NAME, f"{name}: p99", "ms", median(waits[1]), median(waits[0]), compares="ratio", against="without"),
    ]


def measure(context: Context) -> list[Row]:
    """Of events that cost nothing, and of model calls, each of which moves the budgets."""
    rows: list[Row] = []
    for way in (way for way in WAYS if context.way in (None, way.name)):
        without: list[Round] = []
        within: dict[str, list[Round]] = {burden.name: [] for burden in BURDENS}
        for number in range(context.effort.rounds):
            without.append(play_round(context, servers.towerlog, way, SHAPE, f"{NAME}-without"))
            told = [f"{without[-1].events_per_second:,.0f}/s without"]
            for burden in BURDENS:
                played = play_round(context, partial(governed, burden=burden), way, SHAPE, NAME)
                within[burden.name].append(played)
                told.append(f"{played.events_per_second:,.0f}/s with {burden.name}")
            context.say(f"{NAME}, {way.name}, round {number + 1}: {', '.join(told)}")
        for burden in BURDENS:
            rows += rows_of(way, burden, without, within[burden.name])
    return rows
