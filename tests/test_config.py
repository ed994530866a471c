"""Settings: which source wins, what is refused and in which words, and where the data lies."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from towerlog.config import MEANINGS, BadSetting, Settings, database_path, load_settings, unknown_variables

GOOD_KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCD"
NOWHERE = {"HOME": "/home/somebody"}


def test_every_setting_has_a_meaning_and_the_other_way_round() -> None:
    assert list(MEANINGS) == [field.name for field in dataclasses.fields(Settings)]
    assert all(meaning.endswith(".") for meaning in MEANINGS.values())


def test_nothing_said_means_the_defaults() -> None:
    settings = load_settings(environ=NOWHERE)
    assert settings == Settings(data_dir="/home/somebody/.local/share/towerlog")


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "towerlog.toml"
    file.write_text('host = "file"\nport = 1\nmax_queue = 1\nlog_level = "debug"\n')
    environ = {**NOWHERE, "TOWERLOG_PORT": "2", "TOWERLOG_MAX_QUEUE": "2"}
    settings = load_settings({"max_queue": 3, "host": None}, environ, file)
    assert (settings.log_level, settings.host) == ("debug", "file")
    assert (settings.port, settings.max_queue) == (2, 3)


def test_a_variable_that_is_no_setting_is_found() -> None:
    known = {"TOWERLOG_PORT": "1", "TOWERLOG_BOOTSTRAP_KEY_FILE": "k", "TOWERLOG_URL": "u", "TOWERLOG_API_KEY": "k"}
    assert unknown_variables({**NOWHERE, **known}) == {}
    wrong = {"TOWERLOG_STEPS_RATE_PER_MINUT": "0", "TOWERLOG_COLOUR": "red", "TOWERLOGGER": "x"}
    assert unknown_variables({**known, **wrong}) == {
        "TOWERLOG_COLOUR": None,
        "TOWERLOG_STEPS_RATE_PER_MINUT": "TOWERLOG_STEPS_RATE_PER_MINUTE",
    }


def test_a_secret_can_come_from_a_file_that_the_environment_names(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(GOOD_KEY + "\n")
    environ = {**NOWHERE, "TOWERLOG_BOOTSTRAP_KEY_FILE": str(secret)}
    assert load_settings(environ=environ).bootstrap_key == GOOD_KEY
    environ["TOWERLOG_BOOTSTRAP_KEY"] = GOOD_KEY[::-1]
    assert load_settings(environ=environ).bootstrap_key == GOOD_KEY[::-1], "what is said directly counts"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("0", False), ("false", False)])
def test_the_environment_speaks_text(text: str, value: bool) -> None:
    assert load_settings(environ={**NOWHERE, "TOWERLOG_METRICS_PUBLIC": text}).metrics_public is value


def test_an_empty_variable_says_nothing() -> None:
    assert load_settings(environ={**NOWHERE, "TOWERLOG_PORT": ""}).port == 8700


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "many"),
        ("port", "65536"),
        ("port", "-1"),
        ("bootstrap_key", "short"),
        ("bootstrap_key", GOOD_KEY * 6),
        ("bootstrap_key", "k" * 40),
        ("bootstrap_key", "password1password1password1password1"),
        ("bootstrap_key", "0123456789abcdef" * 3),
        ("database_url", "postgres://localhost/towerlog"),
        ("steps_rate_per_minute", "-1"),
        ("lanes_rate_per_minute", "-1"),
        ("cancel_deadline_seconds", "-1"),
        ("stalled_after_seconds", "-1"),
        ("silent_after_seconds", "-1"),
        ("lost_after_seconds", "-1"),
        ("lanes_min_lease_seconds", "0"),
        ("lanes_min_lease_seconds", "3601"),
        ("metrics_public", "perhaps"),
        ("keep_alive_seconds", "0"),
        ("cors_origins", "app.example.com"),
        ("cors_origins", "https://app.example.com/"),
        ("cors_origins", "https://a.example https://b.example"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_setting(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        load_settings(environ={**NOWHERE, f"TOWERLOG_{name.upper()}": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "0"),
        ("port", "65535"),
        ("bootstrap_key", GOOD_KEY[:32]),
        ("bootstrap_key", (GOOD_KEY + GOOD_KEY[::-1]) * 2 + GOOD_KEY[:40]),
        ("steps_rate_per_minute", "0"),
        ("lanes_min_lease_seconds", "1"),
        ("lanes_min_lease_seconds", "3600"),
        ("cors_origins", "https://app.example.com, http://localhost:5173"),
        ("cors_origins", "*"),
    ],
)
def test_the_edges_of_what_is_allowed_are_allowed(name: str, value: str) -> None:
    settings = load_settings(environ={**NOWHERE, f"TOWERLOG_{name.upper()}": value})
    assert str(getattr(settings, name)) == value


def test_a_setting_that_nobody_knows_is_refused_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "towerlog.toml"
    file.write_text("prot = 8700\n")
    with pytest.raises(BadSetting, match=r"towerlog\.toml: unknown setting 'prot'"):
        load_settings(environ=NOWHERE, file=file)


@pytest.mark.parametrize(
    ("said", "folder", "database"),
    [
        ({"HOME": "/h"}, "/h/.local/share/towerlog", "/h/.local/share/towerlog/towerlog.db"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x/towerlog", "/x/towerlog/towerlog.db"),
        ({"TOWERLOG_DATA_DIR": "/d", "XDG_DATA_HOME": "/x"}, "/d", "/d/towerlog.db"),
        ({"TOWERLOG_DATABASE_URL": "sqlite:////u/a.db", "HOME": "/h"}, "/u", "/u/a.db"),
        ({"TOWERLOG_DATABASE_URL": "sqlite:///b.db", "TOWERLOG_DATA_DIR": "/d"}, "/d", "b.db"),
    ],
    ids=["home", "xdg", "data-dir", "url", "both"],
)
def test_where_the_data_lies(said: dict[str, str], folder: str, database: str) -> None:
    settings = load_settings(environ=said)
    assert settings.data_dir == folder
    assert database_path(settings) == Path(database)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LOG_LEVEL", "loud", "log_level: must be one of"),
        ("MAX_QUEUE", "-1", "max_queue: must be between"),
        ("MAX_STREAMS", "many", "TOWERLOG_MAX_STREAMS: max_streams"),
        ("BOOTSTRAP_KEY_FILE", "/nowhere/key", "TOWERLOG_BOOTSTRAP_KEY_FILE: /nowhere/key"),
    ],
)
def test_a_wrong_value_says_where_it_came_from(name: str, value: str, words: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(words)):
        load_settings(environ={f"TOWERLOG_{name}": value})
