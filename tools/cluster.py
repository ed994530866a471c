"""Starts what many nodes need on this machine: PostgreSQL, a NATS server, three nodes, and nginx in front of them.

    make cluster                       PostgreSQL and nginx come from Debian's packages, the NATS server from a wheel
    make cluster ARGS='--nodes 2 --wake postgres --port 8800'

Everything lies in a folder that goes when this ends, and is ended with it. nginx listens on loopback alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.nats import NatsServer
from tests.support.nodes import Nodes
from tests.support.ports import HeldPort
from tests.support.postgres import Cluster
from tests.support.server import ADMIN_KEY
from tests.support.wait import wait_until

MAX_SILENCE_S = 130
"""Streams are silent for up to 15 seconds, long polls for a minute."""

NGINX = """\
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream towerlog {{
{upstreams}
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://towerlog;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            # Streams are to be seen as they come, and may be silent for a while.
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout {silence}s;
            # A node that is gone or draining: another one is asked. What was begun is not begun twice.
            proxy_next_upstream error timeout http_503;
            proxy_next_upstream_tries 3;
        }}
    }}
}}
"""


def nginx_configuration(folder: Path, port: int, targets: list[str]) -> str:
    """What nginx is told."""
    upstreams = "\n".join(f"        server {target} max_fails=1 fail_timeout=2s;" for target in targets)
    return NGINX.format(folder=folder, port=port, upstreams=upstreams, silence=MAX_SILENCE_S)


def find_nginx() -> str:
    """Where it is. Ends the program where it is not installed."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        sys.exit("this needs nginx: install the Debian package `nginx-light`")
    return program


@contextlib.contextmanager
def nginx(program: str, folder: Path, port: int, targets: list[str]) -> Iterator[None]:
    """In front of these addresses, until the end."""
    file = folder / "nginx.conf"
    file.write_text(nginx_configuration(folder, port, targets))
    process = subprocess.Popen([program, "-c", str(file), "-p", str(folder), "-g", "daemon off;"])
    try:
        wait_until(lambda: (folder / "nginx.pid").exists() or process.poll() is not None, "nginx")
        if process.poll() is not None:
            sys.exit(f"nginx does not start: {(folder / 'nginx-error.log').read_text()}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main() -> None:
    """Starts all of it, says where it is, and waits for Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--wake", choices=["nats", "postgres"], default="nats")
    parser.add_argument("--port", type=int, default=0, help="of nginx; default: a free one")
    asked = parser.parse_args()
    program = find_nginx()  # before anything is started
    is_over = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: is_over.set())
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="towerlog-cluster-")))
        base = Cluster()
        opened.callback(base.close)
        env = {"TOWERLOG_TRUSTED_PROXIES": "127.0.0.1", "TOWERLOG_ALLOWED_HOSTS": "127.0.0.1,localhost"}
        if asked.wake == "nats":
            env["TOWERLOG_WAKE"] = opened.enter_context(NatsServer(folder)).url
        nodes = opened.enter_context(Nodes(folder, asked.nodes, env, base))
        port = asked.port or opened.enter_context(HeldPort()).number
        targets = [f"127.0.0.1:{server.port}" for server in nodes.servers]
        opened.enter_context(nginx(program, folder, port, targets))
        lines = [
            f"{asked.nodes} nodes behind http://127.0.0.1:{port}",
            f"  nodes     {', '.join(targets)}",
            f"  database  {nodes.url}",
            f"  bus       {env.get('TOWERLOG_WAKE', 'the database')}",
            f"  nginx     {folder}/nginx.conf",
            f"  key       {ADMIN_KEY}",
        ]
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
        is_over.wait()


if __name__ == "__main__":
    main()
