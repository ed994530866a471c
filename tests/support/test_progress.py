"""The progress of a run: few lines, every failure by its name, and pytest's own last line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.order import LONGEST, ROOT, longest_first
from tests.support.progress import QUICK_MINUTES
from tests.support.samples import first

TESTS = """
import pytest

@pytest.mark.parametrize("number", range(200))
def test_number(number):
    assert number != {wrong}
"""


@pytest.mark.parametrize(
    ("jobs", "wrong"), first([pytest.param("2", 77, id="one wrong"), pytest.param("0", None, id="all good")])
)
def test_a_run_is_told_in_twenty_lines(tmp_path: Path, jobs: str, wrong: int | None) -> None:
    (tmp_path / "test_numbers.py").write_text(TESTS.format(wrong=wrong))
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.progress", "-c", str(ROOT / "pyproject.toml")]
    command += ["-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-n", jobs, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == (wrong is not None), done.stdout + done.stderr
    shares = [int(share) for share in re.findall(r"^ *(\d+) %  ", done.stdout, re.MULTILINE)]
    # On a machine that is very busy there may be more lines.
    assert set(range(5, 101, 5)) <= set(shares)
    assert shares == sorted(shares)
    assert not re.search(r"\.{4}", done.stdout), "no dots"
    named = re.findall(r"^FAILED in call: (.+)$", done.stdout, re.MULTILINE)
    assert [name.rpartition("::")[2] for name in named] == ([] if wrong is None else ["test_number[77]"])
    counted = "200 passed" if wrong is None else "1 failed, 199 passed"
    assert re.fullmatch(rf"=+ {counted} in .+ =+", done.stdout.splitlines()[-1])


def test_the_readme_says_how_long_it_takes() -> None:
    row = f"| `make test` | about {QUICK_MINUTES} minutes on two cores |"
    assert row in (ROOT / "README.md").read_text("utf-8"), "one measurement, one number: bring the README up to date"


def test_the_files_that_begin_first_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)


class Placed:
    """A test as far as its place matters."""

    def __init__(self, name: str, number: int) -> None:
        self.path = ROOT / name
        self.number = number


def test_the_longest_begin_first_and_the_rest_stays_in_order() -> None:
    names = ["tests/a.py", LONGEST[-1], "tests/b.py", LONGEST[0]]
    items = [Placed(name, number) for name in names for number in range(2)]
    longest_first(items)  # type: ignore[arg-type]
    assert [item.number for item in items] == [0, 1] * 4
    order = dict.fromkeys(str(item.path.relative_to(ROOT)) for item in items)
    assert list(order) == [*dict.fromkeys([LONGEST[0], LONGEST[-1]]), "tests/a.py", "tests/b.py"]
