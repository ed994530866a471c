"""One kind of load on the floor and on towerlog, in turns: owns the rounds of A B A B and what a round measures."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import compiled, corpus, servers
from bench.context import Context
from bench.servers import Server
from bench.ways import FloorWay, Target, Way, stored_events, timestamp
from bench.wire import Client, Refused

RUNS = 200
# Beyond any rate seen on this stack with two cores, so that a corpus lasts for its round; a faster server only
# ends its round sooner.
MAX_SINGLES_PER_SECOND = 25_000
MAX_BATCHED_EVENTS_PER_SECOND = 90_000
# The floor knows no ids, so it may be sent the same events again and needs no long corpus.
FLOOR_CORPUS_EVENTS = 20_000

OpenServer = Callable[[Path], AbstractContextManager[Server]]


@dataclass(frozen=True)
class Shape:
    """The load: `length` events of `size` bytes a request, over `runs` runs, at `connections` connections."""

    connections: int
    length: int
    runs: int
    size: int

    def requests(self, way: Way, targets: Sequence[Target], count: int, key: str) -> Iterator[bytes]:
        """Complete requests of this shape."""
        if self.length == 1:
            return way.singles(targets, count, self.size, key)
        return way.batches(targets, count, self.length, self.runs, self.size, key)

    def request_count(self, seconds: float, on_floor: bool) -> int:
        """How many requests a corpus for one round needs."""
        rate = MAX_SINGLES_PER_SECOND if self.length == 1 else MAX_BATCHED_EVENTS_PER_SECOND
        events = FLOOR_CORPUS_EVENTS if on_floor else rate * seconds
        return int(events / self.length)


@dataclass(frozen=True)
class Round:
    """What one round measured."""

    events_per_second: float
    p50_ms: float
    p99_ms: float
    seconds: float
    cpu_us_per_event: float


def check_reply(client: Client, way: Way, shape: Shape, target: Target, number: int) -> None:
    """Send one request of the round's own form and make sure that the server says it stored all of it."""
    if shape.length == 1:
        path, body = way.single([target], number, shape.size, timestamp())
    else:
        path, body = way.batch([target], number, shape.length, 1, shape.size, timestamp())
    reply = client.post(path, body)
    if not way.confirms(reply, shape.length):
        raise Refused(f"{way.name}: not all was stored: {reply.body[:300]!r}")


def check_stored(server: Server, expected: int) -> None:
    """Make sure that the log holds what was acknowledged; it may hold more, such as a change of phase."""
    with Client(server.port, server.key) as client:
        found = stored_events(client)
    if found < expected:
        raise Refused(f"{expected} events were acknowledged, {found} are in the log")


def play_round(context: Context, open_server: OpenServer, way: Way, shape: Shape, label: str) -> Round:
    """One round on a fresh store."""
    on_floor = isinstance(way, FloorWay)
    seconds = context.effort.round_seconds
    with context.folder(label) as folder, open_server(folder / "data") as server:
        count = shape.request_count(seconds, on_floor)
        with Client(server.port, server.key) as client:
            *targets, spare = way.prepare(client, RUNS + 1)
            check_reply(client, way, shape, spare, count)
            before = 0 if on_floor else stored_events(client)
        home = context.work_dir if way.names_are_ours else folder
        path = home / f"{way.name}-{shape.length}-{shape.runs}.corpus"
        if not path.exists():
            corpus.write(path, shape.requests(way, targets, count, server.key))
        cpu_before = server.cpu_seconds()
        with context.profiler.watching(server.process.pid, label):
            load = compiled.load(server.port, path, shape.connections, seconds, loop=on_floor)
        cpu_used = server.cpu_seconds() - cpu_before
        events = load.requests * shape.length
        if not on_floor:
            check_stored(server, before + events)
        server.stop()
    return Round(
        events_per_second=load.requests_per_second * shape.length,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        seconds=load.seconds,
        cpu_us_per_event=cpu_used / events * 1e6,
    )


@dataclass(frozen=True)
class Duel:
    """The rounds of both sides; `towerlog` is empty when the floor was alone."""

    floor: list[Round]
    towerlog: list[Round]

    def medians(self, figure: Callable[[Round], float]) -> tuple[float, float | None]:
        """The floor's median of a figure, and towerlog's."""
        ours = median(map(figure, self.towerlog)) if self.towerlog else None
        return median(map(figure, self.floor)), ours

    def detail(self) -> dict[str, list[dict[str, float]]]:
        """Every round, for results.json."""
        return {
            side: [{name: round(value, 3) for name, value in vars(played).items()} for played in rounds]
            for side, rounds in (("floor", self.floor), ("towerlog", self.towerlog))
        }


def fight(
    context: Context,
    way: Way,
    shape: Shape,
    label: str,
    sides: tuple[OpenServer, OpenServer] = (servers.floor, servers.towerlog),
) -> Duel:
    """Floor, towerlog, floor, towerlog … as many rounds as the effort says."""
    floor, towerlog = sides
    floor_rounds: list[Round] = []
    our_rounds: list[Round] = []
    for number in range(context.effort.rounds):
        floor_rounds.append(play_round(context, floor, FloorWay(), shape, f"{label}-floor"))
        line = f"{label} round {number + 1}: floor {floor_rounds[-1].events_per_second:,.0f}/s"
        if not context.floor_only:
            our_rounds.append(play_round(context, towerlog, way, shape, label))
            line += f", towerlog {our_rounds[-1].events_per_second:,.0f}/s"
        context.say(line)
    return Duel(floor_rounds, our_rounds)
