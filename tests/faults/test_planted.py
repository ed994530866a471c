"""Each planted fault is found by the test that is for it; and what is planted is really there.

The quick tier looks whether each fault has its place and its test, and plants one in the tests' process and one in a
server's. The slow tier plants all.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from tests.faults.changed.replacing import replaced
from tests.faults.planted import FAULTS, Fault
from tests.faults.planting import FAILED, ROOT, run_tests, run_with
from tests.support.tables import table

QUICK = frozenset({"a rate begins anew with each minute", "of two keys the last counts"})
"""One that its test meets in its own process, and one that it meets in a server."""
PARAMETERS = [
    pytest.param(fault, id=fault.name.replace(" ", "_"), marks=() if fault.name in QUICK else pytest.mark.slow)
    for fault in FAULTS
]


def source_of(module: str) -> str:
    return (ROOT / "src" / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")


@functools.cache
def tree_of(module: str) -> str:
    """Its syntax tree as text, for all the faults that are planted there."""
    return ast.dump(ast.parse(source_of(module)))


@table("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_has_its_place_and_changes_the_program(fault: Fault) -> None:
    changed = replaced(source_of(fault.module), fault.old, fault.new)
    assert ast.dump(ast.parse(changed)) != tree_of(fault.module), "nothing but the layout is changed"


def test_no_two_faults_have_one_name() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert {fault.name for fault in FAULTS} >= QUICK


@pytest.mark.parametrize("fault", PARAMETERS)
def test_the_fault_is_found(tmp_path: Path, fault: Fault) -> None:
    ended = run_with(fault, tmp_path)
    assert ended.code == FAILED, f"{fault.test} does not find it\n{ended.told}"
    # One test may have many parameters; each of them is green, or red for the reason that it is there for.
    assert ended.red, ended.told
    assert set(ended.red.values()) <= set(fault.by), f"red for another reason: {ended.red}\n{ended.told}"


def test_where_nothing_is_planted_the_same_tests_are_green(tmp_path: Path) -> None:
    """What is red is so by the fault and not by the way in which it is planted."""
    tests = [fault.test for fault in FAULTS if fault.name in QUICK]
    modules = {fault.module for fault in FAULTS if fault.name in QUICK}
    first = "from __future__ import annotations\n"
    ended = run_tests(tests, {module: [(first, f"{first}# changed\n")] for module in modules}, tmp_path)
    assert (ended.code, ended.red) == (0, {}), ended.told


def test_a_fault_without_its_place_is_no_red_test(tmp_path: Path) -> None:
    """A program that cannot be imported has failed nothing: it would be found by every test."""
    fault = FAULTS[0]._replace(old="this is nowhere")
    ended = run_with(fault, tmp_path)
    assert not (ended.code == FAILED and ended.red and set(ended.red.values()) <= set(fault.by)), ended.told
