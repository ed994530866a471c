"""The table of promises cannot lie: what it names is there, and what README and SECURITY promise is in it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.faults.planted import FAULTS
from tests.faults.promises import NO_PROMISE, PROMISES, README, SECURITY, Promise
from tests.faults.test_unheard_time import MUTANTS
from tests.support.tables import table

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
ROWS = [row for rows in PROMISES.values() for row in rows]
HELPS = frozenset({"hurried", "short_log", "slow_reader", "killed"})
"""Changes of the program that are no defect: they bring about sooner, or at a chosen moment, what a test waits for."""
FUNCTION = re.compile(r"^(?:async )?def (\w+)\(", re.MULTILINE)
"""By its name: to read the syntax of all the files that are named takes seconds."""
STRONG = re.compile(r"\b(durable|on disk|within \d+ seconds|which events are missing|never)\b")
"""Words by which a sentence of README promises something."""


@cache
def functions(file: Path) -> frozenset[str]:
    return frozenset(FUNCTION.findall(file.read_text("utf-8")))


@cache
def words(folder: Path) -> set[str]:
    """All texts in the sources of a folder, whole and between commas."""
    trees = (ast.parse(file.read_text("utf-8")) for file in sorted(folder.glob("*.py")) if file.stem != "promises")
    nodes = (node for tree in trees for node in ast.walk(tree))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts | {part for text in texts for part in text.split(",")}


def sentences(page: str) -> list[str]:
    """Of running text, without its bold beginnings."""
    text = (ROOT / page).read_text("utf-8")
    if page == SECURITY:
        text = text[text.index("## What is in place") : text.index("## What is up to you")]
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if part.strip() and part[0] not in "#|!"]
    found = [one for part in paragraphs for one in re.split(r"(?<=[.]) (?=[A-Z`])", re.sub(r"^\*\*.+?\*\* ", "", part))]
    return [one for one in found if one]


QUOTED = [quote for row in ROWS for quote in row.quotes]


@table("row", ROWS, ids=lambda row: row.says)
def test_the_tests_and_the_mutants_of_a_promise_are_there(row: Promise) -> None:
    assert row.tests
    for test in row.tests:
        file, _, name = test.partition("::")
        files = [TESTS / file] if file.endswith(".py") else (TESTS / file).glob("test_*.py")
        assert name in set().union(*map(functions, files)), f"{test} is not there"
    if row.mutants:
        named = [TESTS / test.partition("::")[0] for test in row.tests]
        folders = {path if path.is_dir() else path.parent for path in named}
        known = set().union(*map(words, folders))
        assert set(row.mutants) <= known, f"no test of {row.says!r} names {set(row.mutants) - known}"


@table("row", ROWS, ids=lambda row: row.says)
def test_every_promise_has_a_planted_fault_that_its_tests_find(row: Promise) -> None:
    assert row.faults


def test_every_planted_fault_is_found_by_the_test_of_a_promise() -> None:
    shown = {test for row in ROWS for test in row.tests}
    assert [fault.name for fault in FAULTS if fault.test.partition("[")[0] not in shown] == []


def test_every_defect_that_is_planted_among_the_faults_has_its_promise() -> None:
    planted = {name for name in functions(TESTS / "faults" / "changed" / "sitecustomize.py") if name[0] != "_"}
    planted |= {mutant.name for mutant, _ in MUTANTS}
    assert planted - HELPS == {name for row in ROWS for name in row.mutants} & planted


@table("page, beginning", sorted(set(QUOTED)))
def test_what_a_row_quotes_is_said(page: str, beginning: str) -> None:
    text = " ".join((ROOT / page).read_text("utf-8").split())
    assert text.count(beginning) == 1, f"{page} does not say (once): {beginning}"


def test_each_sentence_of_security_has_a_row() -> None:
    known = tuple(beginning for page, beginning in QUOTED if page == SECURITY) + NO_PROMISE
    assert [one for one in sentences(SECURITY) if not one.startswith(known)] == []


def test_each_sentence_of_readme_that_promises_has_a_row() -> None:
    known = [beginning for page, beginning in QUOTED if page == README]
    promising = [one for one in sentences(README) if STRONG.search(one)]
    assert len(promising) >= 3
    assert [one for one in promising if not any(beginning in one for beginning in known)] == []
