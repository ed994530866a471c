"""Histories: exact when read back, and no more on disk than what is new in each turn."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.engine.ingest.content import body_as_sent, own_name
from towerlog.engine.verify import verify_org
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, History, HistoryBase, Refusal
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.names import META, NAME_BYTES, message_name, prefix_names
from towerlog.model.outcome import Stored
from towerlog.model.question import GetCheckpoint, LatestCheckpoint
from towerlog.model.texts import Texts
from towerlog.store.content import HistoryNode, Message, MetaList
from towerlog.store.sqlite import load

MESSAGE_BYTES = 1000


def state(
    step: int, messages: list[bytes], meta: list[bytes] | None = None, *, thread: str = "t", trace: str = "x"
) -> Draft:
    """A checkpoint with its whole history."""
    facts = Facts(
        effects=Effects(checkpoint=CheckpointFacts(step, "completed", length=len(messages), has_meta=meta is not None))
    )
    data = {"step_index": step}
    return draft(EventType.CHECKPOINT, traced(trace, thread), data, facts=facts, history=History(messages, meta))


async def latest(rig: Rig, thread: str = "t") -> CheckpointView:
    """The state that the thread resumes from."""
    view = await rig.do(LatestCheckpoint(thread))
    assert isinstance(view, CheckpointView)
    return view


# Exactness

EXACT = [
    b'{"role":"user","content":"hi"}',
    b'{"b":1,"a":2,"nested":{"z":[],"y":{}}}',
    b'{"a":2,"b":1,"nested":{"y":{},"z":[]}}',
    b'{"text":"\\u0000 \\ud83d\\ude00 \\ud800 \\u00e9 \\/ \\n"}',
    '{"text":"é 𝄞 \u2028 \u202e"}'.encode(),
    b'{"n":[1,1.0,1.00,1e2,-0,-0.0,123456789012345678901234567890,1e400]}',
    b'{"twice":1,"twice":2}',
    b'{"long":"' + b"abcdefghij" * 1000 + b'"}',
    b"null",
    b'"just text"',
    b"[]",
    b"",
]


async def test_a_history_is_read_back_byte_for_byte(rig: Rig) -> None:
    metas = [b'{"at":%d,"k":"\\u0000"}' % n for n in range(len(EXACT))]
    await rig.append(state(0, EXACT, metas))
    view = await latest(rig)
    assert view.history == EXACT
    assert view.history_meta == metas
    assert view.figures == b'{"step_index":0}'
    assert view.row.length == len(EXACT)
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


@pytest.mark.parametrize(("messages", "meta"), [([], None), ([], []), ([b"{}"], None), ([b"{}"], [b"null"])])
async def test_no_history_and_no_meta_are_told_apart_from_empty_ones(
    rig: Rig, messages: list[bytes], meta: list[bytes] | None
) -> None:
    await rig.append(state(0, messages, meta))
    view = await latest(rig)
    assert (view.history, view.history_meta) == (messages, meta)


async def test_every_turn_of_a_thread_stays_what_it_was(rig: Rig) -> None:
    turns = [[b'{"turn":%d,"n":%d}' % (n % 3, n) for n in range(length)] for length in (1, 3, 2, 7, 7)]
    turns[4] = [*turns[4][:3], b'{"rewritten":true}', *turns[4][4:]]
    results = await rig.append(*(state(step, turn, [b"%d" % step] * len(turn)) for step, turn in enumerate(turns)))
    assert isinstance(results[0], Stored)
    rig.engine.forget()
    for step, turn in enumerate(turns):
        view = await rig.do(GetCheckpoint(results[0].run_id, step))
        assert view.history == turn
        assert view.history_meta == [b"%d" % step] * len(turn)


async def test_organisations_share_no_content(rig: Rig) -> None:
    other = await rig.make_org("other")
    for who in (rig.principal, other):
        await rig.do(histories_append([EXACT[0]]), principal=who)
        assert (await rig.do(LatestCheckpoint("t"), principal=who)).history == [EXACT[0]]
        assert await verify_org(rig.store, who.org) == 0


def histories_append(messages: list[bytes]) -> Append:
    """A command with one checkpoint."""
    return Append("checkpoints", [state(0, messages)])


texts = st.binary(max_size=8).map(lambda noise: json.dumps(noise.decode("latin-1")).encode())
turns = st.lists(st.lists(st.tuples(st.sampled_from([b"1", b"2", b"3"]) | texts, texts), max_size=8), max_size=6)


def test_whatever_the_turns_are_each_is_read_back(tmp_path: Path) -> None:
    """Growing, shrinking, branching, repeating, with the writer's cache and without it, in one group or in several."""
    with asyncio.Runner() as runner:
        opened = open_rig(tmp_path)
        rig = runner.run(opened.__aenter__())
        threads = 0

        @settings(max_examples=60, phases=[Phase.explicit, Phase.generate])
        @given(turns, st.booleans(), st.booleans())
        def holds(told: list[list[tuple[bytes, bytes]]], together: bool, forget: bool) -> None:
            nonlocal threads
            threads += 1
            runner.run(check_turns(rig, f"t{threads}", told, together, forget))

        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def check_turns(
    rig: Rig, thread: str, told: list[list[tuple[bytes, bytes]]], together: bool, forget: bool
) -> None:
    """Appends all turns, then reads each back."""
    drafts = [
        state(step, [one[0] for one in turn], [one[1] for one in turn], thread=thread) for step, turn in enumerate(told)
    ]
    groups = [drafts] if together else [[one] for one in drafts]
    for group in groups:
        if forget:
            rig.engine.forget()
        results = await rig.append(*group)
        assert all(isinstance(result, Stored) for result in results)
    rows = [row for row in (await rig.store.rows(rig.org)).runs if row.thread_id == thread]
    for step, turn in enumerate(told):
        view = await rig.do(GetCheckpoint(rows[0].run_id, step))
        assert list(zip(view.history, view.history_meta, strict=True)) == turn


# Bases


def continued(step: int, sent: list[bytes], known: list[bytes], length: int | None = None) -> Draft:
    """A checkpoint that sends only what comes after the messages that are known."""
    base = HistoryBase(prefix_names(map(message_name, known))[-1], len(known) if length is None else length)
    whole = state(step, [])
    return msgspec.structs.replace(whole, history=History(sent, None, base))


@pytest.mark.parametrize("forget", [False, True], ids=["cached", "looked up"])
@pytest.mark.parametrize("known", [1, 2, 3])
async def test_a_history_goes_on_from_any_stored_beginning(rig: Rig, known: int, forget: bool) -> None:
    first = [b'"a"', b'"b"', b'"c"']
    await rig.append(state(0, first))
    if forget:
        rig.engine.forget()
    (result,) = await rig.append(continued(1, [b'"d"', b'"e"'], first[:known]))
    assert isinstance(result, Stored)
    view = await latest(rig)
    assert view.history == [*first[:known], b'"d"', b'"e"']
    assert view.row.length == known + 2
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_base_may_come_with_the_same_request(rig: Rig) -> None:
    results = await rig.append(state(0, [b'"a"']), continued(1, [b'"b"'], [b'"a"']), continued(2, [], [b'"a"', b'"b"']))
    assert all(isinstance(result, Stored) for result in results)
    assert (await latest(rig)).history == [b'"a"', b'"b"']


async def test_sent_whole_or_by_its_base_it_is_the_same_checkpoint(rig: Rig) -> None:
    await rig.append(state(0, [b'"a"']), state(1, [b'"a"', b'"b"']))
    (again,) = await rig.append(continued(1, [b'"b"'], [b'"a"']))
    assert isinstance(again, Stored)
    assert again.duplicate


@pytest.mark.parametrize("forget", [False, True], ids=["cached", "looked up"])
@pytest.mark.parametrize(("known", "length"), [([b'"x"'], 1), ([b'"a"', b'"b"'], 1), ([b'"a"', b'"b"'], 3)])
async def test_a_base_that_is_not_stored_is_refused_and_the_older_state_stays(
    rig: Rig, known: list[bytes], length: int, forget: bool
) -> None:
    await rig.append(state(0, [b'"a"', b'"b"']))
    if forget:
        rig.engine.forget()
    refused, beside = await rig.append(continued(1, [b'"c"'], known, length), state(0, [b'"a"', b'"b"']))
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.field) == ("unknown_base", "data.base")
    assert isinstance(beside, Stored)
    assert (await latest(rig)).history == [b'"a"', b'"b"']


@pytest.mark.parametrize("way", ["cached", "looked up", "in the same request"])
@pytest.mark.parametrize("count", [2, 600], ids=["short", "long"])
async def test_a_list_of_metas_is_no_base(rig: Rig, count: int, way: str) -> None:
    """It is named in the same way, and no history lies under its name."""
    messages, metas = [b'"a"'] * count, [b"%d" % number for number in range(count)]
    whole = state(0, messages, metas)
    base = HistoryBase(prefix_names(META + meta for meta in metas)[-1], count)
    more = [state(step, []) for step in (1, 2)]
    told = [
        msgspec.structs.replace(one, history=History(sent, None, base))
        for one, sent in zip(more, ([], [b"1"] * 600), strict=True)
    ]
    if way == "in the same request":
        results = (await rig.append(whole, told[0]))[1:] + await rig.append(told[1])
    else:
        await rig.append(whole)
        if way == "looked up":
            rig.engine.forget()
        results = [(await rig.append(one))[0] for one in told]
    for refused in results:
        assert isinstance(refused, Refusal)
        assert (refused.code, refused.field) == ("unknown_base", "data.base")
    assert (await latest(rig)).history == messages


async def test_another_organisations_history_is_no_base(rig: Rig) -> None:
    await rig.append(state(0, [b'"a"']))
    other = await rig.make_org("other")
    outcome = await rig.do(Append("checkpoints", [continued(1, [], [b'"a"'])]), principal=other)
    assert isinstance(outcome.results[0], Refusal)


# Growth


def message(number: int) -> bytes:
    """A message of one kilobyte that no compressor can make small."""
    noise = random.Random(number).randbytes(MESSAGE_BYTES * 3 // 8).hex()
    return json.dumps({"role": "user", "content": noise}).encode()


async def bytes_on_disk(folder: Path, turns: int) -> int:
    """The database after a thread of so many turns, each of which sends its whole history."""
    async with open_rig(folder) as rig:
        messages: list[bytes] = []
        for turn in range(turns):
            messages.append(message(turn))
            await rig.append(state(turn, messages, [b'{"at":%d}' % n for n in range(len(messages))]))
        if messages:
            assert (await latest(rig)).history == messages
    return (folder / "towerlog.db").stat().st_size


async def test_histories_grow_linearly_on_disk(tmp_path: Path) -> None:
    sizes = {}
    for turns in (0, 100, 200):
        folder = tmp_path / str(turns)
        folder.mkdir()
        sizes[turns] = await bytes_on_disk(folder, turns)
    final = sum(len(message(turn)) for turn in range(200))
    assert sizes[200] - sizes[0] <= 4 * final, "the final history at most four times"
    growth = (sizes[200] - sizes[0]) / (sizes[100] - sizes[0])
    assert 1.6 <= growth <= 2.4, f"twice the turns, {growth:.2f} times the bytes"


async def test_a_turn_that_was_sent_before_adds_no_content(rig: Rig) -> None:
    first = [message(number) for number in range(3)]
    await rig.append(state(0, first))
    content = await content_of(rig)
    rig.engine.forget()
    await rig.append(state(0, first), state(1, first), state(2, first[:2]))
    assert await content_of(rig) == content
    await rig.append(state(3, [*first, message(9)]))
    assert await content_of(rig) == (content[0] + 1, content[1] + 1)


async def content_of(rig: Rig) -> tuple[int, int]:
    """How many messages and nodes are stored."""
    found = [len(await rig.store.content(rig.org, kind, 0, 10_000)) for kind in ("messages", "nodes")]
    return found[0], found[1]


@pytest.mark.parametrize("at_once", [1, 512])
async def test_a_known_prefix_is_found_however_it_is_asked_for(
    rig: Rig, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MAX_KEYS_AT_ONCE", at_once)
    told = [b'{"n":%d}' % number for number in range(40)]
    for length in (1, 2, 3, 17, 40):
        rig.engine.forget()
        await rig.append(state(length, told[:length]))
        assert await content_of(rig) == (length, length)


# Bodies


@pytest.mark.parametrize("data", [b"{}", b'{"step_index":0}', b'{ "step_index" :0}'])
def test_a_body_is_put_together_without_a_text_for_each_message(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the event loop, where fifty thousand of them would take a tenth of a second."""
    made: list[int] = []
    get = Texts._at

    def counted(texts: Texts, index: int) -> bytes:
        made.append(index)
        return get(texts, index)

    monkeypatch.setattr(Texts, "_at", counted)
    sent = [{"n": number} for number in range(100)]
    texts = Texts(json.dumps(sent).encode())
    for meta, base in ((None, None), (Texts(b"[]"), HistoryBase(b"n", 1)), (texts, None)):
        told = msgspec.structs.replace(state(0, []), data=data, history=History(texts, meta, base))
        body = json.loads(body_as_sent(told))
        assert (body.pop("history"), body.pop("history_meta", None)) == (
            sent,
            None if meta is None else [*sent][: len(meta)],
        )
        assert body.pop("base", None) == (base and {"node": b"n".hex(), "length": 1})
        assert body == json.loads(data)
    assert made == []
    assert body_as_sent(msgspec.structs.replace(state(0, []), data=data, history=None)) == data


# Names


def test_names_are_of_content_and_of_what_went_before() -> None:
    assert message_name(b"a") == hashlib.sha256(b"a").digest()[:NAME_BYTES]
    one, two = prefix_names([b"a", b"b"]), prefix_names([b"a", b"c"])
    assert one[0] == two[0]
    assert one[1] != two[1]
    assert prefix_names([b"b"], one[0]) == one[1:]
    assert prefix_names([]) == []


def test_content_gives_itself_its_name() -> None:
    names = prefix_names([message_name(b"a"), message_name(b"b")])
    assert own_name(Message(1, b"", b"a")) == message_name(b"a")
    assert own_name(HistoryNode(1, b"", names[0], message_name(b"b"), 2)) == names[1]
    metas = prefix_names([b"meta:1", b'meta:{"x":2}', b"meta:3"])
    assert own_name(MetaList(1, b"", metas[0], b'[{"x":2},3]')) == metas[2]
