"""Python code as a program of its own: what `python -c CODE ARGUMENT…` does, in a process that is forked."""

from __future__ import annotations

import builtins
import sys
from types import ModuleType


def program() -> None:
    """The code is the first argument; it finds itself as `__main__`, as it would in an interpreter of its own."""
    _, code, *arguments = sys.argv
    sys.argv = ["-c", *arguments]
    main = ModuleType("__main__")
    vars(main)["__builtins__"] = builtins
    sys.modules["__main__"] = main
    exec(compile(code, "<string>", "exec"), vars(main))
