"""Tables of small cases that are one test: pytest takes longer to begin and end a test than such a case takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class _Failed:
    """The cases of a table that have failed."""

    def __init__(self) -> None:
        self._errors: list[tuple[str, Exception]] = []

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """What a case raises is kept until all have been tried."""
        try:
            yield
        except Exception as error:
            self._errors.append((name, error))

    def tell(self, cases: int) -> None:
        """Fails with each that has failed, by its name."""
        if self._errors:
            told = [f"[{name}] {type(error).__name__}: {error}" for name, error in self._errors]
            raise AssertionError(f"{len(told)} of {cases} cases failed\n" + "\n".join(told)) from self._errors[0][1]


def table(names: str, cases: Iterable[Any], ids: Callable[[Any], str] = str) -> Callable[[Any], Callable[..., Any]]:
    """In the place of `pytest.mark.parametrize`: all cases in one test, which fails with each that fails, by its name.

    For a test that needs nothing fresh for each case: its fixtures are made once. Of several `names`, with a comma in
    between, each case has as many values; `ids` makes a name of each value. Without a case it fails.
    """
    wanted = [name.strip() for name in names.split(",")]
    rows = [row if len(wanted) > 1 else (row,) for row in cases]
    named = [("-".join(map(ids, row)), dict(zip(wanted, row, strict=True))) for row in rows]

    def fold(test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def whole(**fixtures: Any) -> None:
            assert named, "a table without a case"
            failed = _Failed()
            for name, values in named:
                with failed.noted(name):
                    test(**fixtures, **values)
            failed.tell(len(named))

        @functools.wraps(test)
        async def awaited(**fixtures: Any) -> None:
            assert named, "a table without a case"
            failed = _Failed()
            for name, values in named:
                with failed.noted(name):
                    await test(**fixtures, **values)
            failed.tell(len(named))

        made = awaited if inspect.iscoroutinefunction(test) else whole
        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in wanted]
        vars(made)["__signature__"] = signature.replace(parameters=fixtures)
        return made

    return fold
