"""Live push as stock clients of its protocol take it, unmodified: `pusher-js` and `laravel-echo` on Node.js."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.feeds import step
from tests.clients.sightings import chromium, npm_client, page_server
from tests.clients.tools import NODE_MODULES, node_modules, program
from tests.support.server import ADMIN_KEY, Server

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples" / "push"
ABSENT = "01890000-0000-7000-8000-00000000dead"


@pytest.mark.parametrize("library", ["pusher-js", "laravel-echo"])
def test_a_stock_client_hears_its_user_over_a_restart_and_nobody_else(fresh_server, library: str) -> None:
    server: Server = fresh_server()
    client = server.client()
    user = client.get("/api/v1/whoami").json()["user_id"]
    other = server.client(server.make_org("other")[1])
    with npm_client(library, server.base_url, ADMIN_KEY, user, ABSENT, script="push.mjs") as seen:
        seen.until("subscribed")
        assert seen.until("refused") == [ABSENT]
        sent = []
        for number in range(200):
            step(other, f"theirs-{number}", "step")
            sent.append(step(client, f"run-{number % 5}", "step", {"n": number})["event_id"])
        assert seen.until("event", 200) == sent
        assert seen.of("run") == [f"run-{number % 5}" for number in range(200)]
        server.restart()
        assert 4200 in seen.until("told")
        seen.until("subscribed", 2)
        last = step(client, "run-0", "run_end")["event_id"]
        assert seen.until("event", 201)[-1] == last
        assert seen.of("type")[-1] == "run_end"
        assert set(seen.of("subscribed")) == {user}


def test_the_example_of_the_docs_prints_what_happens(fresh_server, tmp_path: Path) -> None:
    server: Server = fresh_server()
    node_modules()
    for name in ("connect.mjs", "follow.mjs"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    process = subprocess.Popen(
        [program("node"), "follow.mjs"],
        cwd=tmp_path,
        env={"TOWERLOG_URL": f"{server.base_url}/", "TOWERLOG_API_KEY": ADMIN_KEY},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "listening\n"
        position = step(server.client(), "run-1", "run_start", {"input": "go"}, agent_name="writer")["event_id"]
        assert process.stdout.readline() == f'{position} writer run_start running {{"input":"go"}}\n'
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


DRIVER = """
<script type="module">
  const wanted = new URLSearchParams(location.search);
  const say = (line) => fetch("/seen", { method: "POST", body: JSON.stringify({ line }) });
  const tell = (changes) => changes.forEach((change) => change.addedNodes.forEach((item) => say(item.textContent)));
  new MutationObserver(tell).observe(document.querySelector("ol"), { childList: true });
  const form = document.querySelector("form");
  form.elements.url.value = wanted.get("url");
  form.elements.key.value = wanted.get("key");
  form.requestSubmit();
</script>
"""
"""Does at the end of the page what a person does, and tells each line that the page shows."""


def test_the_example_page_shows_what_happens_in_chromium(fresh_server, tmp_path: Path) -> None:
    library = "node_modules/pusher-js/dist/web/pusher.min.js"
    page = tmp_path / "page.html"
    page.write_text((EXAMPLES / "page.html").read_text() + DRIVER)
    files = {"/": page, "/connect.mjs": EXAMPLES / "connect.mjs", f"/{library}": node_modules().parent / library}
    with page_server(files) as (origin, seen):
        server: Server = fresh_server(TOWERLOG_CORS_ORIGINS=origin)
        with chromium(f"{origin}/?url={server.base_url}/&key={ADMIN_KEY}", tmp_path / "profile"):
            assert seen.until("line") == ["listening"]
            step(server.client(), "run-1", "run_start", {"input": "go"}, agent_name="writer")
            assert seen.until("line", 2)[1] == "writer: run_start (running)"
    with page_server(files) as (other, seen), chromium(f"{other}/?url={server.base_url}&key=x", tmp_path / "another"):
        assert seen.until("line") == ["Failed to fetch"], "its origin is not let in"


def test_the_examples_say_why_a_key_is_not_good(fresh_server, tmp_path: Path) -> None:
    server: Server = fresh_server()
    node_modules()
    for name in ("connect.mjs", "follow.mjs"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    env = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": "nobody"}
    done = subprocess.run(
        [program("node"), "follow.mjs"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"Error: {server.client('nobody').get('/api/v1/push').json()['detail']}" in done.stderr
