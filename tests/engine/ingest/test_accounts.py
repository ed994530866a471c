"""A framework that does not know the id of what was streamed, beside the client's own span that does: one response."""

from __future__ import annotations

import itertools
from typing import Any

from tests.dialects.otlp.test_dialect import decode
from tests.engine.ingest.test_spans import agent, chat, sums
from tests.support.otlp import Json, traces
from tests.support.rig import Rig

RESPONSE = "msg_791e49b8c0a24f6b"
NAMED: dict[str, Any] = {"gen_ai__response__id": RESPONSE}


def request(*spans: Json, scope: str, service: str = "weather") -> list[Any]:
    """What a library of a process tells."""
    [told] = traces(*spans, service=service)["resourceSpans"]
    told["scopeSpans"][0]["scope"] = {"name": scope}
    return [told]


async def counted(rig: Rig, name: str, *parts: list[Any]) -> dict[str, Any]:
    """The sums of a request of these."""
    who = await rig.make_org(name)
    await rig.do(decode({"resourceSpans": [one for part in parts for one in part]}), dialect="otlp", principal=who)
    found = await sums(rig, who)
    return {name: found[name] for name in ("all", "agents")}


def framework(**told: Any) -> list[Any]:
    return request(agent(1, 0, "lead"), chat(2, 1, 30, **told), scope="framework")


async def test_a_call_is_one_with_the_clients_own_beside_it_and_in_another_trace(rig: Rig) -> None:
    once = {"all": (30, 1, 31, 0, 0), "agents": {"lead": (30, 1, 31, 0, 0)}}
    for name, client in {
        "beside": chat(3, 1, 30, **NAMED),
        "in another trace": chat(11, 0, 30, trace=2, **NAMED),
        "of a version": chat(3, 1, 30, model="m1-20251101", **NAMED),
    }.items():
        for number, parts in enumerate(itertools.permutations((framework(), request(client, scope="client")))):
            assert await counted(rig, f"{name} {number}", *parts) == once, name


async def test_what_may_be_another_call_counts_beside_it(rig: Rig) -> None:
    client = chat(3, 1, 30, **NAMED)
    later = {"startTimeUnixNano": "1775124000500000000", "endTimeUnixNano": "1775124002000000000"}
    others = {
        "other tokens": (framework(), request(chat(3, 1, 31, **NAMED), scope="client")),
        "another model": (framework(), request(chat(3, 1, 30, model="x", **NAMED), scope="client")),
        "the same library": (framework(), request(client, scope="framework")),
        "another process": (framework(), request(client, scope="client", service="other")),
        "not within": (framework(), request(client | later, scope="client")),
        "below another": (framework(), request(chat(3, 7, 30, **NAMED), scope="client")),
        "an id of its own": (framework(gen_ai__response__id="msg_0123456789abcdef"), request(client, scope="client")),
        "a short id": (framework(), request(chat(3, 1, 30, gen_ai__response__id="r1"), scope="client")),
        "below a call in another trace": (framework(), request(chat(12, 11, 30, trace=2, **NAMED), scope="client")),
    }
    found = {name: (await counted(rig, name, *parts))["all"][1] for name, parts in others.items()}
    assert found == dict.fromkeys(others, 2)


async def test_of_calls_at_once_each_is_one_with_one_other(rig: Rig) -> None:
    """Five of the same figures, of which four are told of twice."""
    ids = [f"{RESPONSE}{number}" for number in range(4)]
    clients = [chat(20 + number, 1, 30, gen_ai__response__id=one) for number, one in enumerate(ids)]
    calls = [chat(2 + number, 1, 30) for number in range(5)]
    parts = (request(agent(1, 0, "lead"), *calls, scope="framework"), request(*clients, scope="client"))
    assert (await counted(rig, "five", *parts))["all"] == (150, 5, 155, 0, 0)
