"""Laws over the tree as a whole: how much lies in a folder, whose name is whose, which package has its tests."""

import ast
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from tests.tidy.source import PACKAGE, Source

FOLDER_FILES = 14
NOT_OF_THE_SERVER = ("sdk/", "cli/")
"""Packages that name things for other readers, and may reuse the server's names."""

Counted = Mapping[str, int]


def crowded_folders(paths: Iterable[str], may_be_long: Collection[str]) -> Counted:
    """Folder of the package → how many modules lie in it, where that is more than `FOLDER_FILES`.

    `__init__.py` is not counted: a package has one by its nature. Nor are files in folders below.
    """
    inside = (PurePosixPath(path.removeprefix(PACKAGE)) for path in paths if path.startswith(PACKAGE))
    counted = Counter(str(path.parent) for path in inside if path.suffix == ".py" and path.name != "__init__.py")
    return {
        folder: count for folder, count in sorted(counted.items()) if count > FOLDER_FILES and folder not in may_be_long
    }


def names_given_twice(sources: Iterable[Source]) -> Counted:
    """Public class of the server → in how many modules one of that name is defined, where that is more than one."""
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for source in sources:
        if not source.path.startswith(PACKAGE) or source.inside.startswith(NOT_OF_THE_SERVER):
            continue
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(source.path)
    return {name: len(paths) for name, paths in sorted(homes.items()) if len(paths) > 1}


def complaints(found: Counted, known: Counted, advice: str) -> Iterator[str]:
    """What was found beyond what is known to be left to do, and what is known although it is done."""
    for name, count in found.items():
        if count > known.get(name, 0):
            yield f"{name}: {count}; {advice}"
    for name, count in known.items():
        if found.get(name, 0) < count:
            yield f"{name}: {found.get(name, 0)} and no longer {count}; bring STILL_TO_MOVE up to date"


def packages_without_test(paths: Collection[str], tested_by: Mapping[str, str]) -> Iterator[str]:
    """Packages with modules of their own and no test file in or below the mirrored folder.

    `tested_by` maps the few packages whose tests stand elsewhere to how the paths of those tests begin.
    """
    packages = {
        str(PurePosixPath(path.removeprefix(PACKAGE)).parent)
        for path in paths
        if path.startswith(PACKAGE) and path.endswith(".py") and not path.endswith(("__init__.py", "__main__.py"))
    }
    tests = [path for path in paths if PurePosixPath(path).name.startswith("test_")]
    for package in sorted(packages):
        # The tests of the modules at the top stand at the top, not anywhere below it.
        mirror = "tests/test_" if package == "." else f"tests/{package}/"
        if not any(path.startswith(tested_by.get(package, mirror)) for path in tests):
            yield f"{PACKAGE}{package}: has no test; write {tested_by.get(package, mirror)}…"
