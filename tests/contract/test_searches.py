"""Runs are found by what they say, the same in every store: all words, in any part, until it is erased."""

from __future__ import annotations

import pytest

from tests.support.factories import run_row
from towerlog.model.question import RunFilter
from towerlog.model.run_text import MAX_PART_CHARS, RunText, searchable
from towerlog.store.base import Store
from towerlog.store.values import Changes, RunChange


async def commit(store: Store, changes: Changes) -> None:
    """One unit of work."""
    async with store.begin() as unit:
        await unit.commit(changes)


async def put(store: Store, *texts: RunText) -> None:
    """The runs with their texts."""
    rows = [run_row(text.run & 0xFFFF, org=text.org, agent="Smith") for text in texts]
    changes = {row.run: RunChange(None, row) for row in rows}
    await commit(store, Changes(runs=changes, texts={text.run: text.begun() for text in texts}))


async def found(store: Store, org: int, q: str) -> list[int]:
    """The numbers of the runs that a search finds."""
    return [row.run & 0xFFFF for row in await store.runs(org, RunFilter(q=q), 10, None)]


async def test_words_are_found_in_every_part(store: Store, org: int) -> None:
    run = run_row(1, org=org).run
    await put(store, RunText(run, org, "the tower", "is leaning", "how much?", "timed out"))
    for word in ("tower", "TOWER", "lean", "much?", "timed", "smith", "tower leaning smith", "thread-1"):
        assert await found(store, org, word) == [1], word
    for word in ("castle", "tower castle", "%", "_", "tower_"):
        assert await found(store, org, word) == [], word
    assert await found(store, org, "") == [1]


async def test_the_case_of_letters_with_two_small_forms_does_not_matter(store: Store, org: int) -> None:
    row = run_row(1, org=org, agent="Νόμος")
    told = RunText(row.run, org, searchable("ΟΔΥΣΣΕΥΣ")).begun()
    await commit(store, Changes(runs={row.run: RunChange(None, row)}, texts={row.run: told}))
    for word in ("νόμος", "ΝΌΜΟΣ", "νόμοσ", "οδυσσεύς".replace("ύ", "υ"), "ΟΔΥΣΣΕΥΣ", "οδυσσευσ"):
        assert await found(store, org, word) == [1], word


async def test_what_is_told_later_takes_the_place_and_talk_is_kept(store: Store, org: int) -> None:
    run = run_row(1, org=org).run
    await put(store, RunText(run, org, given="old", talk="first"))
    for text in (RunText(run, org, given="new", talk="second"), RunText(run, org, about="failed")):
        await commit(store, Changes(texts={run: text}))
    assert [await found(store, org, word) for word in ("old", "new", "first", "second", "failed")] == [
        [], [1], [1], [1], [1],
    ]  # fmt: skip
    assert (await store.rows(org)).texts == [RunText(run, org, "new", "", "second\nfirst", "failed")]
    await commit(store, Changes(texts={run: RunText(run, org, talk="x" * MAX_PART_CHARS)}))
    assert [text.talk for text in (await store.rows(org)).texts] == ["x" * MAX_PART_CHARS]


async def test_what_is_gone_is_not_found_and_nothing_is_left(store: Store, org: int) -> None:
    run = run_row(1, org=org).run
    await put(store, RunText(run, org, "tower"))
    await commit(store, Changes(texts={run: RunText(run, org, anew=True)}))
    assert await found(store, org, "tower") == []
    assert (await store.rows(org)).texts == [RunText(run, org).whole()]
    await commit(store, Changes(texts={run: RunText(run, org, about="late", anew=True)}))
    assert await found(store, org, "late") == [1]


async def test_of_a_run_without_a_beginning_nothing_is_kept(store: Store, org: int) -> None:
    """It began before texts were kept: a part of it would be no text of the run."""
    row = run_row(1, org=org)
    await commit(store, Changes(runs={row.run: RunChange(None, row)}))
    await commit(store, Changes(texts={row.run: RunText(row.run, org, talk="tower")}))
    assert await found(store, org, "tower") == []
    assert (await store.rows(org)).texts == []


async def test_nobody_finds_what_another_organisation_says(store: Store, org: int, other: int) -> None:
    ours, theirs = run_row(1, org=org).run, run_row(2, org=other).run
    await put(store, RunText(ours, org, "tower"))
    await put(store, RunText(theirs, other, "tower"))
    assert await found(store, org, "tower") == [1]
    assert await found(store, other, "tower") == [2]
    assert [text.run for text in (await store.rows(org)).texts] == [ours]


async def test_a_rebuild_takes_what_was_there(store: Store, org: int) -> None:
    row = run_row(1, org=org)
    await put(store, RunText(row.run, org, "tower"))
    anew = Changes(
        runs={row.run: RunChange(None, row)}, texts={row.run: RunText(row.run, org, "castle").begun()}, replaces=org
    )
    await commit(store, anew)
    assert [await found(store, org, word) for word in ("tower", "castle")] == [[], [1]]


@pytest.mark.parametrize("word", ["n\x00l", "ﬁ", "日本", "é", "'; --", '"', "\\"])
async def test_any_word_is_found_and_breaks_nothing(store: Store, org: int, word: str) -> None:
    run = run_row(1, org=org).run
    await put(store, RunText(run, org, f"before {word} after"))
    assert await found(store, org, word) == [1]


async def test_what_runs_say_is_read_back_by_number_and_for_their_organisation_alone(store: Store, org: int) -> None:
    run, other = run_row(1, org=org).run, run_row(2, org=org).run
    await put(store, RunText(run, org, "the tower"), RunText(other, org, talk="how much?"))
    assert await store.run_texts(org, [run, 7]) == {run: RunText(run, org, "the tower").whole()}
    assert set(await store.run_texts(org, [run, other])) == {run, other}
    assert await store.run_texts(org + 1, [run]) == {}
    assert await store.run_texts(org, []) == {}
