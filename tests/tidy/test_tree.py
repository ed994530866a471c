"""The law of STYLE.md that no linter knows, held over every file of the repository.

Each check is a function of a module beside this one; `test_planted` shows that each finds what it is for. A finding
says what to do instead. An exception goes into `exceptions`, with its reason.
"""

import gc
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from tests.tidy import frozen, rooms, shape, unused
from tests.tidy.checks import FILE_CHECKS, PYTHON_CHECKS, SOURCE_CHECKS, TEST_CHECKS, FileCheck, SourceCheck, name_of
from tests.tidy.dangling import DANGLING_DOCSTRINGS
from tests.tidy.exceptions import ALLOWED, MAY_BE_LONG, NAMED_BY_OTHERS, NOT_FROZEN, STILL_TO_MOVE, TESTED_BY
from tests.tidy.source import PACKAGE, ROOT, read_source, read_sources, repository_files


@pytest.fixture(scope="module", autouse=True)
def held_sources() -> Iterator[None]:
    """The syntax trees of the whole repository are large, and no later test needs them.

    While they grow nothing of them can be let go: to look for it, again and again, takes longer than to read them.
    """
    gc.disable()
    yield
    gc.enable()
    read_source.cache_clear()


def hold(findings: Iterable[str]) -> None:
    """Fail with every finding on a line of its own."""
    found = list(findings)
    if found:
        pytest.fail("\n".join([f"{len(found)} found:", *found]), pytrace=False)


def over(folder: str, check: SourceCheck) -> Iterator[str]:
    """The findings of a check below a folder, without those that are allowed."""
    for source in read_sources(folder):
        if (name_of(check), source.path) not in ALLOWED:
            yield from check(source)


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=name_of)
def test_source(check: SourceCheck) -> None:
    hold(over(PACKAGE, check))


@pytest.mark.parametrize("check", PYTHON_CHECKS, ids=name_of)
def test_every_python_file(check: SourceCheck) -> None:
    hold(over("", check))


@pytest.mark.parametrize("check", TEST_CHECKS, ids=name_of)
def test_tests(check: SourceCheck) -> None:
    hold(over("tests/", check))


@pytest.mark.parametrize("check", FILE_CHECKS, ids=name_of)
def test_every_file(check: FileCheck) -> None:
    hold(finding for path in repository_files() for finding in check(path, (ROOT / path).read_bytes()))


def test_nine_functions_of_ten_are_short() -> None:
    lengths = [shape.function_lines(function) for source in read_sources(PACKAGE) for function in source.functions()]
    assert shape.ninetieth_percentile(lengths) <= shape.FUNCTION_LINES_P90, (
        "too many long functions; name the steps of the longest and let each be a function"
    )


def test_every_package_has_its_tests() -> None:
    hold(rooms.packages_without_test(repository_files(), TESTED_BY))


def test_no_folder_is_crowded() -> None:
    found = rooms.crowded_folders(repository_files(), MAY_BE_LONG)
    advice = f"at most {rooms.FOLDER_FILES} modules lie in a folder: give what belongs together a folder of its own"
    hold(rooms.complaints(found, STILL_TO_MOVE["crowded_folders"], advice))


def test_docstrings_can_be_read_alone() -> None:
    found = Counter(source.module for source in read_sources(PACKAGE) for _ in shape.dangling_docstring(source))
    advice = (
        "a text of it says nothing by itself (`shape.dangling_docstring`): begin with a noun or a verb that names it"
    )
    hold(rooms.complaints(found, DANGLING_DOCSTRINGS, advice))


def test_no_two_public_classes_of_the_server_have_one_name() -> None:
    found = rooms.names_given_twice(read_sources(PACKAGE))
    advice = "so many modules define a class of this name: name each for what only it is"
    hold(rooms.complaints(found, STILL_TO_MOVE["names_given_twice"], advice))


def test_what_is_declared_is_named_somewhere() -> None:
    others = (source for folder in ("bench/", "docs/", "tools/", "examples/") for source in read_sources(folder))
    hold(unused.named_nowhere([*read_sources(PACKAGE), *others], NAMED_BY_OTHERS))
    reasons = [reason for names in NAMED_BY_OTHERS.values() for reason in names.values()]
    assert all(len(reason.split()) >= 5 for reason in reasons), "say in a sentence who names it"


def test_values_are_frozen() -> None:
    hold(frozen.unfrozen(frozen.all_values(), NOT_FROZEN))


def test_every_value_that_may_change_is_there_and_does() -> None:
    changing = {kind.__name__ for kind in frozen.all_values() if not frozen.is_frozen(kind)}
    assert set(NOT_FROZEN) <= changing, "take what is frozen or gone out of NOT_FROZEN"
    assert all(len(reason.split()) >= 5 for reason in NOT_FROZEN.values()), "say in a sentence why it may change"


def test_the_changelog_says_what_comes_next() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^## \[?Unreleased\]?$", text, re.MULTILINE), "add a `## Unreleased` section to CHANGELOG.md"


def test_every_exception_is_needed_and_has_a_reason() -> None:
    checks = {name_of(check): check for check in (*SOURCE_CHECKS, *PYTHON_CHECKS, *TEST_CHECKS)}
    for (name, path), reason in ALLOWED.items():
        assert list(checks[name](read_source(path))), f"{path} needs no exception from {name} any more; take it out"
        assert len(reason.split()) >= 5, f"say in a sentence why {path} may be excepted from {name}"
