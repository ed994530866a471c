"""A real nginx before a server, with nothing set that has to do with streams: its defaults, as most people have it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.tools import program
from tests.support.ports import HeldPort
from tests.support.server import wait_for_exit
from tests.support.wait import wait_until

CONFIG = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
  }}
}}
"""


@contextmanager
def nginx_before(upstream: int, folder: Path) -> Iterator[str]:
    """The address of a proxy of a local port. It speaks HTTP/1.0 to it, as nginx does unless told otherwise."""
    folder.mkdir()
    held = HeldPort()
    config = CONFIG.format(folder=folder, upstream=upstream, port=held.number)
    (folder / "nginx.conf").write_text(config)
    command = [program("nginx"), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: (folder / "pid").exists() or process.poll() is not None, "nginx")
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        yield held.url
    finally:
        process.terminate()
        assert wait_for_exit(process, 30)
        if process.stderr:
            process.stderr.close()
        held.close()
