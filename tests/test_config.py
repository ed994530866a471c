"""Settings: which source wins, what is refused and in which words, and where the data lies."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tests.support.tables import table
from towerlog.config import (
    MEANINGS,
    SECRETS,
    BadSetting,
    Settings,
    database_path,
    doubts,
    load_settings,
    retry_seconds,
)

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
    assert doubts({**NOWHERE, **known}) == []
    wrong = {"TOWERLOG_STEPS_RATE_PER_MINUT": "0", "TOWERLOG_COLOUR": "red", "TOWERLOGGER": "x"}
    wrong["TOWERLOG_STEPS_RATE"] = "0"
    assert doubts({**known, **wrong}) == [
        "TOWERLOG_COLOUR is set, but there is no such setting",
        "TOWERLOG_STEPS_RATE is set, but there is no such setting (did you mean TOWERLOG_STEPS_RATE_PER_MINUTE?)",
        "TOWERLOG_STEPS_RATE_PER_MINUT is set, but there is no such setting "
        "(did you mean TOWERLOG_STEPS_RATE_PER_MINUTE?)",
    ]


@table("name", ["BOOTSTRAP_KEY", "SMTP_URL"])
@table("mode, is_open", [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_secret_in_a_file_that_everybody_can_read_deserves_a_warning(
    tmp_path: Path, name: str, mode: int, is_open: bool
) -> None:
    secret = tmp_path / "key"
    secret.write_text(GOOD_KEY)
    secret.chmod(mode)
    said = doubts({**NOWHERE, f"TOWERLOG_{name}_FILE": str(secret)})
    assert [str(secret) in one for one in said] == [True] * is_open
    assert GOOD_KEY not in "".join(said)


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
        ("database_url", "mysql://localhost/towerlog"),
        ("steps_rate_per_minute", "-1"),
        ("lanes_rate_per_minute", "-1"),
        ("otlp_rate_per_minute", "-1"),
        ("cancel_deadline_seconds", "-1"),
        ("stalled_after_seconds", "-1"),
        ("silent_after_seconds", "-1"),
        ("lost_after_seconds", "-1"),
        ("lanes_min_lease_seconds", "0"),
        ("lanes_min_lease_seconds", "3601"),
        ("metrics_public", "perhaps"),
        ("keep_alive_seconds", "0"),
        ("cors_origins", "app.example.com"),
        ("push_app_key", "ü"),
        ("push_app_key", "a/b"),
        ("push_secret", "short"),
        ("cors_origins", "https://app.example.com/"),
        ("cors_origins", "https://a.example https://b.example"),
        ("webhook_retry_seconds", "soon"),
        ("webhook_retry_seconds", "10,,60"),
        ("webhook_retry_seconds", "0"),
        ("webhook_retry_seconds", "-10"),
        ("webhook_retry_seconds", "86401"),
        ("webhook_retry_seconds", ",".join(["1"] * 11)),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_setting(name: str, value: str) -> None:
    variable = f"TOWERLOG_{name.upper()}"
    with pytest.raises(BadSetting, match=f"^{variable}: {name}: "):
        load_settings(environ={**NOWHERE, variable: value})


def test_what_another_part_reads_is_refused_in_its_words_and_by_where_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "towerlog.toml"
    file.write_text('smtp_url = "mail"\n')
    with pytest.raises(BadSetting, match=f"^{re.escape(str(file))}: smtp_url: invalid literal"):
        load_settings(environ=NOWHERE, file=file, checks={"smtp_url": int})
    found = load_settings(environ=NOWHERE, file=file, checks={"smtp_url": str.lower, "egress_allow": int})
    assert found.smtp_url == "mail", "what is not set is not read"


def test_a_wrong_value_is_refused_by_where_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "towerlog.toml"
    file.write_text("port = 70000\n")
    with pytest.raises(BadSetting, match=r"towerlog\.toml: port: must be between 0 and 65535"):
        load_settings(environ=NOWHERE, file=file)
    with pytest.raises(BadSetting, match=r"^--max-queue must be between"):
        load_settings({"max_queue": 0}, {**NOWHERE, "TOWERLOG_MAX_QUEUE": "1"})


@table("name", SECRETS)
@table("value", ['["smtps://u:hunter2@mail?from=a@b.c"]', "41421356", "2024-05-17", "{a = 'hunter2'}"])
def test_no_message_repeats_a_secret(tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / "towerlog.toml"
    file.write_text(f"{name} = {value}\n")
    with pytest.raises(BadSetting) as caught:
        load_settings(environ=NOWHERE, file=file)
    assert str(caught.value) == f"{file}: {name}: must be text"


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
        ("webhook_retry_seconds", "1"),
        ("webhook_retry_seconds", "86400"),
        ("webhook_retry_seconds", "10, 60, 300"),
        ("webhook_retry_seconds", ",".join(["1"] * 10)),
    ],
)
def test_the_edges_of_what_is_allowed_are_allowed(name: str, value: str) -> None:
    settings = load_settings(environ={**NOWHERE, f"TOWERLOG_{name.upper()}": value})
    assert str(getattr(settings, name)) == value


def test_the_pauses_before_further_attempts() -> None:
    assert retry_seconds(Settings()) == (10, 60, 300)
    assert retry_seconds(Settings(webhook_retry_seconds=" 5 ,7")) == (5, 7)


def test_a_setting_that_nobody_knows_is_refused_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "towerlog.toml"
    for name, meant in (("prot", " (did you mean port?)"), ("colour", "")):
        file.write_text(f"{name} = 8700\n")
        with pytest.raises(BadSetting) as caught:
            load_settings(environ=NOWHERE, file=file)
        assert str(caught.value) == f"{file}: unknown setting {name!r}{meant}"


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


def test_an_identity_provider_needs_a_client_and_a_default_role_a_domain() -> None:
    issuer = {"TOWERLOG_OIDC_ISSUER": "https://id.example.com"}
    found = load_settings(environ=NOWHERE | issuer | {"TOWERLOG_OIDC_CLIENT_ID": "towerlog"})
    assert (found.oidc_issuer, found.oidc_client_id, found.oidc_default_role) == (
        "https://id.example.com",
        "towerlog",
        "",
    )
    wrong = [
        (issuer, "oidc_client_id"),
        ({"TOWERLOG_OIDC_DEFAULT_ROLE": "admin"}, "viewer or operator"),
        ({"TOWERLOG_OIDC_DEFAULT_ROLE": "viewer"}, "oidc_domain"),
    ]
    for environ, words in wrong:
        with pytest.raises(BadSetting, match=words):
            load_settings(environ=NOWHERE | environ)
