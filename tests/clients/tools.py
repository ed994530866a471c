"""Programs of others that the tests of clients need: found, or installed where this machine lets us, never skipped.

* Debian packages (curl, nginx-light, chromium …): where one is missing, it is installed if the tests run as root on a
  machine that has apt-get; otherwise the test fails and says what to install.
* npm packages: `package-lock.json` of a folder names them, by default of this one; `npm ci` puts them into its
  `node_modules`.
* Python packages: `requirements.txt` of a folder, by default of this one, in a virtual environment beside it, so that
  what the generators of clients need does not get in the way of what Towerlog needs.

What has been installed stays, for the next run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NODE_MODULES = HERE / "node_modules"
INSTALL_DEADLINE_S = 900.0
PACKAGES = {
    "curl": "curl",
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "chromium": "chromium",
    "node": "nodejs",
    "npm": "npm",
}
"""Program → the Debian package that it comes in."""


def searched() -> str:
    """Where programs are looked for. Beside the interpreter is the Node.js of `make setup`, where there is no other."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", str(Path(sys.executable).parent)])


def program(name: str) -> str:
    """The path of a program. Fails the test where there is none and none can be installed."""
    found = shutil.which(name, path=searched())
    if found is None:
        _install_package(name, PACKAGES[name])
        found = shutil.which(name, path=searched())
    if found is None:
        pytest.fail(f"this test needs {name}; on Debian: apt-get install --no-install-recommends {PACKAGES[name]}")
    return found


def node_modules(folder: Path = HERE) -> Path:
    """The folder of the npm packages, as the `package-lock.json` of a folder has them."""
    modules = folder / "node_modules"
    stamp = modules / ".installed"
    with install_lock("npm"):
        if not _is_newer(stamp, folder / "package-lock.json"):
            _run([program("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
            stamp.touch()
    return modules


def npm_program(name: str) -> list[str]:
    """How to call a program of an npm package."""
    return [program("node"), str(node_modules() / ".bin" / name)]


def python_program(name: str, folder: Path = HERE) -> str:
    """A program of the `requirements.txt` of a folder, in an environment of its own."""
    venv = folder / ".venv"
    stamp, wanted = venv / ".installed", folder / "requirements.txt"
    with install_lock("python"):
        if not _is_newer(stamp, wanted):
            _run([sys.executable, "-m", "venv", "--clear", str(venv)])
            pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            _run([*pip, "-r", str(wanted)])
            stamp.touch()
    return str(venv / "bin" / name)


def _install_package(name: str, package: str) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    with install_lock("apt"):
        if shutil.which(name) is None:
            _run(["apt-get", "update", "-q"])
            _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", package])


def _run(command: list[str], folder: Path = HERE) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_DEADLINE_S,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": searched()},
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _is_newer(stamp: Path, source: Path) -> bool:
    return stamp.exists() and stamp.stat().st_mtime >= source.stat().st_mtime


@contextmanager
def install_lock(what: str) -> Iterator[None]:
    """Tests run in several processes: one of them installs, the others wait for it."""
    with (HERE / f".{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
