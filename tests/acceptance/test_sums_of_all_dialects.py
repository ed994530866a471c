"""Random stories of runs that are told in several dialects at once, against a plain sum of what was told.

The sum is written after the pages of the dialects and knows nothing of how the server adds up: calls count each,
running totals by what they grow, tokens by the price of their model, a cost of a whole run instead of computed ones.
What it says of each run, agent, model, hour and budget, and of the organisation, must be what the server shows, to the
billionth of a dollar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest

from tests.acceptance.feeds import Json, claim, create_run, ok, report
from tests.support.otlp import span, traces
from tests.support.readback import ReadBack
from tests.support.senders import checkpoint, push_activity, save_batch, tell
from tests.support.server import Server

RATES = {"big": (3_000, 300, 15_000), "small": (500, 50, 2_000)}
"""Nano-dollars of a token of input, of cached input, of output."""
HOURS = 3
ARRIVAL = "now"
"""The hour of calls that tell none."""
Kind = tuple[str, str]


class Tokens(NamedTuple):
    """Of a call, or of some: fresh input, cached input, output."""

    fresh: int = 0
    cached: int = 0
    output: int = 0

    def plus(self, other: Tokens) -> Tokens:
        return Tokens(*(one + more for one, more in zip(self, other, strict=True)))

    def nanos(self, model: str) -> int:
        return sum(count * rate for count, rate in zip(self, RATES[model], strict=True))


class Books:
    """What should be shown: tokens and nano-dollars by run, agent, model and hour."""

    def __init__(self) -> None:
        self.tokens: Counter[Kind] = Counter()
        self.nanos: Counter[Kind] = Counter()
        self.unpriced: Counter[Kind] = Counter()
        self.split: dict[Kind, Tokens] = {}
        self.loose: set[str] = set()
        """Agents and models of runs whose cost was told as a whole: where it stands depends on what was told before."""

    def add(self, run: str, agent: str, model: str, hour: str, tokens: int, nanos: int, unpriced: int = 0) -> None:
        for kind in (("run", run), ("agent", agent), ("model", model), ("hour", hour), ("org", "")):
            self.tokens[kind] += tokens
            self.nanos[kind] += nanos
            self.unpriced[kind] += unpriced

    def costs(self, run: str, nanos: int, names: list[str]) -> None:
        """A run costs so much, whatever was computed; `names`: of its agents and models."""
        more, known = nanos - self.nanos["run", run], self.unpriced["run", run]
        for kind in (("run", run), ("org", "")):
            self.nanos[kind] += more
            self.unpriced[kind] -= known
        self.loose.update(names)

    def says(self, run: str, agent: str, split: Tokens) -> None:
        """The kinds of the tokens of a run and of an agent."""
        for kind in (("run", run), ("agent", agent), ("org", "")):
            self.split[kind] = self.split.get(kind, Tokens()).plus(split)


class Story:
    """One run and all that is told of it: a list of posts, which may go in any order."""

    has_times = True
    """Whether its dialect says when calls happened."""
    is_open = True
    """Whether it has not ended before its calls come."""

    def __init__(self, client: httpx2.Client, random: Random, books: Books, names: Callable[[str], str]) -> None:
        self.client, self.random, self.books = client, random, books
        self.posts: list[Callable[[], None]] = []
        self.agents = {kind: names(kind) for kind in ("calls", "totals", "others")}
        self.models = {name: names(name) for name in RATES}
        self.thread, self.trace = names("thread"), uuid4().hex
        self.number = 0
        self.holds: list[str] = []
        self.has_told_cost, self.told_nanos = False, 0
        self.whole_cost = random.choice([None, None, random.randint(0, 10**7)])
        """What the process of the run tells as its cost, if it does."""
        now = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
        self.times = [now - timedelta(hours=back) for back in range(HOURS + 1, 1, -1)]
        self.run_id = self.begin()

    def begin(self) -> str:
        raise NotImplementedError

    def tell_call(self, at: datetime, model: str, tokens: Tokens, cost: int | None) -> None:
        """A model call in the dialect of the run."""
        raise NotImplementedError

    def some(self) -> Tokens:
        return Tokens(*(self.random.randint(0, 400) for _ in range(3)))

    def plan(self) -> None:
        """All posts of the story, in the order in which they happened."""
        for _ in range(self.random.randint(1, 3)):
            self.plan_call(self.tell_call, "calls")
            self.plan_call(self.native_call, "others")
            if self.is_open:
                hold = {"run_id": self.run_id, "amount_usd": 0.5, "agent": self.agents["others"], "ttl_seconds": 3600}
                self.holds.append(ok(self.client.post("/api/v1/budgets/reserve", json=hold))["reservation_id"])
        self.plan_totals()
        if self.whole_cost is not None:
            names = [*self.agents.values(), *self.models.values()]
            self.books.costs(self.run_id, max(self.told_nanos, self.whole_cost), names)

    def plan_call(self, telling: Callable[..., None], kind: str) -> None:
        at, name, tokens = self.random.choice(self.times), self.random.choice([*RATES]), self.some()
        cost = self.random.choice([None, None, self.random.randint(0, 10**7)])
        self.has_told_cost, self.told_nanos = self.has_told_cost or cost is not None, self.told_nanos + (cost or 0)
        nanos = tokens.nanos(name) if cost is None else cost
        hour = hour_of(at) if self.has_times or kind == "others" else ARRIVAL
        self.books.add(self.run_id, self.agents[kind], self.models[name], hour, sum(tokens), nanos)
        self.books.says(self.run_id, self.agents[kind], tokens)
        self.posts.append(lambda: telling(at, self.models[name], tokens, cost))

    def native_call(self, at: datetime, model: str, tokens: Tokens, cost: int | None) -> None:
        """By the native API, mostly for a part of a budget that is reserved now."""
        data: Json = {"model": model, "input_tokens": tokens.fresh, "cached_input_tokens": tokens.cached}
        data |= {"output_tokens": tokens.output} | ({} if cost is None else {"cost_usd": dollars(cost)})
        if self.holds:
            data["reservation_id"] = self.holds.pop()
        event = {"type": "model.call", "run_key": self.run_id, "event_id": uuid4().hex, "time": text_of(at)}
        event |= {"agent": self.agents["others"], "data": data}
        self.number += 1
        body = {"client_id": self.trace, "events": [{**event, "client_seq": self.number}]}
        ok(self.client.post("/api/v1/events", json=body))

    def plan_totals(self) -> None:
        """Checkpoints of an agent that tells what it has spent so far, in one form or in several; the last one says all
        of it, so that no token is without a split."""
        name, agent, all_of, known, hour = self.random.choice([*RATES]), self.agents["totals"], Tokens(), 0, 0
        forms = self.random.choice([["flat"], ["cached"], ["call"], ["flat", "cached", "call", "bare"]])
        told = [self.random.choice(forms) for _ in range(self.random.randint(2, 5))]
        has_cache = "cached" in told
        for step, form in enumerate(told, start=1):
            one = self.some()
            all_of, hour = all_of.plus(one), min(HOURS - 1, hour + self.random.randint(0, 1))
            self.plan_checkpoint(step, name, hour, self.figures(form, one, all_of))
            self.books.add(self.run_id, agent, self.models[name], hour_of(self.times[hour]), sum(all_of) - known, 0)
            known = sum(all_of)
        cost = {} if self.whole_cost is None else {"run_cost_usd": dollars(self.whole_cost)}
        last = self.figures("cached" if has_cache else "flat", all_of, all_of)
        self.plan_checkpoint(len(told) + 1, name, hour, last | cost)
        split = all_of if has_cache else Tokens(all_of.fresh + all_of.cached, 0, all_of.output)
        self.books.says(self.run_id, agent, split)
        self.books.add(self.run_id, agent, self.models[name], hour_of(self.times[hour]), 0, split.nanos(name))

    def figures(self, form: str, one: Tokens, all_of: Tokens) -> Json:
        total = sum(all_of)
        if form == "bare":
            return {"tokens_used": total}
        if form == "call":
            return {"tokens_used": total, "input_tokens": one.fresh + one.cached, "output_tokens": one.output}
        told: Json = {"prompt_tokens": all_of.fresh + all_of.cached, "completion_tokens": all_of.output}
        if form == "flat":
            return {"tokens_used": total, "input_tokens": told["prompt_tokens"], "output_tokens": all_of.output}
        return {"usage": told | {"total_tokens": total, "prompt_tokens_details": {"cached_tokens": all_of.cached}}}

    def plan_checkpoint(self, step: int, name: str, hour: int, figures: Json) -> None:
        told = {"agent_id": self.agents["totals"], "model": self.models[name], **figures}
        event = checkpoint(self.thread, self.trace, step, **told, history=[{"n": one} for one in range(step)])
        event["occurred_at"] = text_of(self.times[hour])
        self.posts.append(lambda: save_batch(self.client, event))


class OfWorker(Story):
    """A run that a worker reports under its lease."""

    has_times = False

    def begin(self) -> str:
        made = create_run(self.client, self.thread, agent=self.agents["calls"])
        self.trace = made["trace_id"]
        claim(self.client, made["run_id"], "w")
        return str(made["run_id"])

    def tell_call(self, at: datetime, model: str, tokens: Tokens, cost: int | None) -> None:
        payload: Json = {"model": model, "input_tokens": tokens.fresh, "cached_input_tokens": tokens.cached}
        payload |= {"output_tokens": tokens.output} | ({} if cost is None else {"cost_usd": dollars(cost)})
        report(self.client, self.run_id, "w", {"type": "model.call", "payload": payload})


class OfSpans(Story):
    """A run that OpenTelemetry's spans tell."""

    is_open = False

    def begin(self) -> str:
        self.root = self.random.getrandbits(60) + 1
        self.trace_number = int(self.trace, 16)
        self.send(self.root, 0, self.times[0], "invoke_agent work", gen_ai__operation__name="invoke_agent")
        [row] = ok(self.client.get("/api/v1/runs", params={"thread_id": self.thread}))["data"]
        self.trace = row["trace_id"]
        return str(row["run_id"])

    def tell_call(self, at: datetime, model: str, tokens: Tokens, cost: int | None) -> None:
        sent = tokens.fresh + tokens.cached
        told: Json = {"gen_ai__usage__input_tokens": sent, "gen_ai__usage__output_tokens": tokens.output}
        told |= {"gen_ai__usage__cache_read__input_tokens": tokens.cached}
        told |= {} if cost is None else {"gen_ai__usage__cost": float(dollars(cost))}
        number = self.random.getrandbits(60) + 1
        self.send(number, self.root, at, "chat", gen_ai__operation__name="chat", gen_ai__request__model=model, **told)

    def send(self, number: int, parent: int, at: datetime, name: str, **told: Any) -> None:
        named = {"gen_ai__agent__name": self.agents["calls"], "gen_ai__conversation__id": self.thread}
        made = span(number, parent, trace=self.trace_number, name=name, **named, **told)
        begins = int(at.timestamp()) * 10**9
        made |= {"startTimeUnixNano": str(begins), "endTimeUnixNano": str(begins + 10**6)}
        ok(self.client.post("/v1/traces", json=traces(made)))


class OfSteps(Story):
    """A run of an SDK, whose agent pushes its calls, and whose end tells what no call has told."""

    def begin(self) -> str:
        about = {"framework": "x", "thread_id": self.thread}
        tell(self.client, "run_start", self.thread, about, agent_name=self.agents["calls"])
        [row] = ok(self.client.get("/api/v1/runs", params={"thread_id": self.thread}))["data"]
        self.trace = row["trace_id"]
        self.agent_id = ReadBack(self.client).agent_id(self.agents["calls"])
        return str(row["run_id"])

    def tell_call(self, at: datetime, model: str, tokens: Tokens, cost: int | None) -> None:
        about: Json = {"thread_id": self.thread, "model_name": model, "input_tokens": tokens.fresh + tokens.cached}
        about |= {"cached_input_tokens": tokens.cached, "output_tokens": tokens.output}
        about |= {} if cost is None else {"cost_usd": dollars(cost)}
        event = {"type": "inference_complete", "timestamp": text_of(at), "metadata": about}
        reply = push_activity(self.client, self.agent_id, event)
        assert reply.status_code == 200, reply.text

    def plan(self) -> None:
        super().plan()
        more, at = self.random.choice([0, 0, 70]), self.times[-1]
        total = self.books.tokens["run", self.run_id] + more
        if more:
            # Where costs are told, that of what is told beyond the calls may be in them.
            unpriced = 0 if self.has_told_cost or self.whole_cost is not None else 1
            self.books.add(self.run_id, self.agents["calls"], self.models["big"], hour_of(at), more, 0, unpriced)
        payload = {"total_tokens": total, "model": self.models["big"]}
        self.posts.append(lambda: tell(self.client, "run_end", self.thread, payload, occurred_at=text_of(at)) and None)


def dollars(nanos: int) -> float:
    return float(Decimal(nanos) / 10**9)


def text_of(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def hour_of(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:00:00.000Z")


def nanos_of(usd: float | None) -> int:
    return round(Decimal(str(usd or 0)) * 10**9)


def figures(row: Json, cost: str = "cost_usd") -> tuple[int, int, int]:
    return row["usage"]["total_tokens"] or 0, nanos_of(row[cost]), row["unpriced_calls"]


def split_of(row: Json) -> Tokens:
    usage = row["usage"]
    return Tokens(*(usage[name] or 0 for name in ("input_tokens", "cached_input_tokens", "output_tokens")))


def compare(client: httpx2.Client, books: Books, budgets: dict[str, str]) -> None:
    """All that the server shows, against the books."""
    since = {"since": text_of(datetime.now(UTC) - timedelta(days=2)), "limit": 200}
    shown: dict[Kind, tuple[int, int, int]] = {}
    for by in ("agent", "model", "hour"):
        rows = ok(client.get("/api/v1/usage", params={"by": by, **since}))["data"]
        shown |= {(by, row[by] or ""): figures(row) for row in rows}
        shown["org", ""] = tuple(sum(column) for column in zip(*map(figures, rows), strict=True))  # type: ignore[assignment]
        for row in rows:
            assert min(*figures(row), *split_of(row)) >= 0, row
            assert sum(split_of(row)) <= (row["usage"]["total_tokens"] or 0), row
            if (by, row[by]) in books.split:
                assert split_of(row) == books.split[by, row[by]], row
        expected = books.tokens["org", ""], books.nanos["org", ""], books.unpriced["org", ""]
        assert shown["org", ""] == expected, by
    for kind, nanos in books.nanos.items():
        if kind[0] == "run":
            row = ok(client.get(f"/api/v1/runs/{kind[1]}"))
            shown[kind] = figures(row, "total_cost_usd")
            assert split_of(row) == books.split[kind], row
        tokens = books.tokens[kind]
        if (kind[0] == "hour" and kind[1] != ARRIVAL) or kind[1] in books.loose:
            assert shown[kind][0] == tokens, kind
        elif kind[0] != "hour":
            assert shown.get(kind, (0, 0, 0)) == (tokens, nanos, books.unpriced[kind]), kind
    for name, budget_id in budgets.items():
        if name in books.loose:
            continue
        row = ok(client.get(f"/api/v1/budgets/{budget_id}"))
        assert nanos_of(row["spent_usd"]) == books.nanos[("agent", name) if name else ("org", "")], row


def play(client: httpx2.Client, random: Random, books: Books, budgets: dict[str, str]) -> None:
    """Three runs told at once, each in a dialect of its own beside the others', in any order."""
    mark = uuid4().hex[:6]
    stories = [kind(client, random, books, lambda name, k=kind: f"om-{name}-{k.__name__}-{mark}")
               for kind in (OfWorker, OfSpans, OfSteps)]  # fmt: skip
    for story in stories:
        for name, rates in RATES.items():
            costs = dict(zip(("input", "cached_input", "output"), (rate / 1000 for rate in rates), strict=True))
            price = {"model": story.models[name], "usd_per_million": costs}
            ok(client.post("/api/v1/prices", json=price), 201)
        for agent in story.agents.values():
            body = {"name": agent, "scope": {"agent": agent}, "amount_usd": 1000}
            budgets[agent] = ok(client.post("/api/v1/budgets", json=body), 201)["budget_id"]
        story.plan()
    posts = [post for story in stories for post in story.posts]
    random.shuffle(posts)
    for post in posts:
        post()


@pytest.mark.parametrize("seeds", [range(6, 9), pytest.param(range(40), marks=pytest.mark.slow)])
def test_what_is_shown_is_the_sum_of_what_was_told(server: Server, unique: Callable[[str], str], seeds: range) -> None:
    _, key = server.make_org(unique("sums"))
    client, books = server.client(key), Books()
    body = {"name": "all", "scope": {"organisation": True}, "amount_usd": 1000}
    budgets = {"": ok(client.post("/api/v1/budgets", json=body), 201)["budget_id"]}
    for seed in seeds:
        play(client, Random(seed), books, budgets)
        compare(client, books, budgets)
