"""The settings: where they come from, and what is never shown of them."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr, ValidationError

from control.errors import ExitCode, MisuseError
from control.settings import (
    ADDRESSES,
    PROJECT_ROOT,
    Settings,
    load_settings,
    public,
    read_local_addresses,
    unknown_variables,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the home of a stack that runs on unusual ports."""
    folder = tmp_path / "home"
    folder.mkdir()
    addresses = {"kafka_bootstrap": "local:1", "flink_url": "http://local:2"}
    (folder / "addresses.json").write_text(json.dumps(addresses))
    monkeypatch.setenv("SLUICE_HOME", str(folder))
    return folder


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "profile.toml"
    file.write_text('kafka_bootstrap = "profile:1"\nlog_level = "debug"\n')
    monkeypatch.setenv("SLUICE_PROFILE", str(file))
    return file


def test_the_defaults_point_at_the_usual_local_stack(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    assert settings.kafka_bootstrap == "127.0.0.1:9092"
    assert settings.timescale_dsn.get_secret_value() == "postgresql://sluice@127.0.0.1:5432/sluice"
    assert settings.explicit == frozenset()
    assert settings.cache_dir == PROJECT_ROOT / ".sluice" / "cache"


def test_the_running_stack_goes_before_the_defaults(home: Path) -> None:
    settings = load_settings()
    assert settings.kafka_bootstrap == "local:1"
    assert settings.flink_url == "http://local:2"
    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"


def test_the_profile_goes_before_the_running_stack(home: Path, profile: Path) -> None:
    settings = load_settings()
    assert settings.kafka_bootstrap == "profile:1"
    assert settings.log_level == "debug"
    assert settings.flink_url == "http://local:2"


def test_the_environment_goes_before_the_profile(
    home: Path, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_KAFKA_BOOTSTRAP", "environment:1")
    assert load_settings().kafka_bootstrap == "environment:1"


def test_an_argument_goes_before_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_KAFKA_BOOTSTRAP", "environment:1")
    assert load_settings(kafka_bootstrap="argument:1").kafka_bootstrap == "argument:1"


def test_an_empty_variable_is_not_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_KAFKA_BOOTSTRAP", "")
    settings = load_settings()
    assert settings.kafka_bootstrap == "local:1"
    assert settings.explicit == frozenset()


def test_the_profile_can_name_the_home(
    tmp_path: Path, home: Path, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_HOME")
    profile.write_text(f'home = "{home}"\n')
    assert load_settings().kafka_bootstrap == "local:1"


def test_a_tilde_in_the_home_is_the_persons_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.setenv("SLUICE_HOME", "~/home")
    settings = load_settings()
    assert settings.home == home
    assert settings.kafka_bootstrap == "local:1"


def test_a_relative_home_becomes_absolute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv("SLUICE_HOME", "home")
    settings = load_settings()
    assert settings.home == home
    assert settings.kafka_bootstrap == "local:1"


def test_the_cache_can_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path))
    assert load_settings().cache_dir == tmp_path


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_address_from_the_environment_is_explicit(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"SLUICE_{name.upper()}", "http://theirs:1")
    assert load_settings().explicit == {name}


def test_an_address_from_the_profile_is_explicit(home: Path, profile: Path) -> None:
    assert load_settings().explicit == {"kafka_bootstrap"}


def test_addresses_of_the_running_stack_are_not_explicit(home: Path) -> None:
    assert load_settings().explicit == frozenset()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', "\xff"])
def test_a_damaged_address_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "addresses.json").write_bytes(content.encode("latin-1"))
    assert read_local_addresses(tmp_path) == {}
    assert load_settings(home=tmp_path).kafka_bootstrap == "127.0.0.1:9092"


def test_the_address_file_sets_addresses_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").write_text('{"log_level": "debug", "redis_url": "redis://x"}')
    assert read_local_addresses(tmp_path) == {"redis_url": "redis://x"}


@pytest.mark.parametrize(("variable", "value"), [
    ("SLUICE_LOG_LEVEL", "loud"),
    ("SLUICE_LOG_FORMAT", "xml"),
    ("SLUICE_KAFKA_REPLICATION", "many"),
    ("SLUICE_KAFKA_REPLICATION", "11"),
    ("SLUICE_MAVEN_URL", "no-scheme"),
])
def test_a_bad_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(MisuseError, match=variable) as caught:
        load_settings()
    assert caught.value.exit_code is ExitCode.MISUSED


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_LOG_LEVEL", "loud")
    monkeypatch.setenv("SLUICE_LOG_FORMAT", "xml")
    with pytest.raises(MisuseError, match=r"SLUICE_LOG_LEVEL.*SLUICE_LOG_FORMAT"):
        load_settings()


def test_a_value_that_is_no_json_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_EXPLICIT", "abc")
    with pytest.raises(MisuseError, match="explicit"):
        load_settings()


def test_a_missing_profile_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_PROFILE", "/no/such/file.toml")
    with pytest.raises(MisuseError, match=r"/no/such/file\.toml cannot be read") as caught:
        load_settings()
    assert "SLUICE_PROFILE" in caught.value.hint


@pytest.mark.parametrize("content", [b"this is not toml", b"\xff\xfe"])
def test_a_profile_that_is_no_toml_is_a_clear_error(profile: Path, content: bytes) -> None:
    profile.write_bytes(content)
    with pytest.raises(MisuseError, match="not valid TOML"):
        load_settings()


def test_a_misspelt_key_in_the_profile_is_named(profile: Path) -> None:
    profile.write_text('kafka_bootstrp = "x:1"\n')
    with pytest.raises(MisuseError, match="KAFKA_BOOTSTRP"):
        load_settings()


def test_settings_are_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.log_level = "debug"  # type: ignore[misc]


@pytest.mark.parametrize("name", [
    "registry_url", "timescale_dsn", "elasticsearch_url", "redis_url"
])
def test_secrets_are_in_no_text_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"SLUICE_{name.upper()}", "http://user:hunter2@server/")
    settings = load_settings()
    for text in (repr(settings), str(settings), repr(vars(settings)), settings.model_dump_json()):
        assert "hunter2" not in text
    assert "hunter2" in getattr(settings, name).get_secret_value()


def test_secrets_are_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_REDIS_URL", "redis://:hunter2@server")
    monkeypatch.setenv("SLUICE_LOG_LEVEL", "hunter2")
    with pytest.raises(MisuseError) as caught:
        load_settings()
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(("address", "shown"), [
    ("postgresql://u:hunter2@h:5432/db", "postgresql://u:***@h:5432/db"),
    ("redis://:hunter2@h:6379/0", "redis://:***@h:6379/0"),
    ("postgresql://u@h/db?password=hunter2&sslmode=require",
     "postgresql://u@h/db?password=***&sslmode=require"),
    ("postgresql://u@h/db?a=b&sslpassword=hunter2", "postgresql://u@h/db?a=b&sslpassword=***"),
    ("postgresql://u:hunter2@h1:1,h2:2/db", "postgresql://u:***@h1:1,h2:2/db"),
    # Passwords that should have been escaped: the error that says so must not show them.
    ("postgresql://u:hun/ter2@h/db", "postgresql://u:***@h/db"),
    ("postgresql://u:hun@ter2@h/db", "postgresql://u:***@h/db"),
    ("postgresql://u:hun#ter2@h/db", "postgresql://u:***@h/db"),
    ("postgresql://u@tenant:hunter2@h/db", "postgresql://u@tenant:***@h/db"),
    ("postgresql://u/v:hunter2@h/db", "postgresql://u/v:***@h/db"),
    ("postgresql://u://hunter2@h/db", "postgresql://u:***@h/db"),
    # A slip of the hand: a space before the scheme, or no scheme at all.
    (" redis://:hunter2@h", " redis://:***@h"),
    ("u:hunter2@h:5432/db", "u:***@h:5432/db"),
])
def test_passwords_in_urls_are_hidden(address: str, shown: str) -> None:
    assert public(address) == shown
    assert public(SecretStr(address)) == shown


@pytest.mark.parametrize("address", [
    "127.0.0.1:9092", "a:1,b:2", "http://127.0.0.1:8080/apis/ccompat/v7", "http://[::1]:80/x?y=z",
    "postgresql://sluice@127.0.0.1:5432/sluice", "redis://127.0.0.1:6379/0", "http://[broken", "",
])
def test_an_address_without_a_password_is_shown_as_it_is(address: str) -> None:
    assert public(address) == address


def test_passwords_in_key_value_strings_are_hidden() -> None:
    shown = public("host=h port=5432 user=u password='hunter 2' sslpassword=hunter3 dbname=db")
    assert sorted(shown.split()) == [
        "dbname=db", "host=h", "password=***", "port=5432", "sslpassword=***", "user=u"
    ]
    assert sorted(public("host=h user=u").split()) == ["host=h", "user=u"]
    assert sorted(public("host=h password=hunter://2").split()) == ["host=h", "password=***"]


@pytest.mark.parametrize("address", ["host=h passwort=hunter2", "password='hunter2"])
def test_a_key_value_string_that_cannot_be_read_is_hidden_whole(address: str) -> None:
    assert public(address) == "***"


# The mark keeps a short password from being found in "postgresql" by chance.
ANYTHING = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
AWKWARD = st.text(st.sampled_from("@:/?#&=' \\%[]\n"), max_size=8)
PASSWORDS = (ANYTHING | AWKWARD).map(lambda text: f"Zq7{text}Zq7")


@given(PASSWORDS)
def test_no_password_is_ever_shown(password: str) -> None:
    for address in (
        f"postgresql://u:{quote(password, safe='')}@h/db",
        f"postgresql://u:{password}@h/db",
        f"u:{password}@h/db",
        f"postgresql://u@h/db?password={quote(password, safe='')}&x=y",
        make_conninfo(host="h", password=password),
    ):
        assert "Zq7" not in public(address)


def test_misspelt_variables_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unknown_variables() == []
    monkeypatch.setenv("SLUICE_KAFKA_BOOTSTRAP", "h:1")
    # Servers of a stack carry these two.
    monkeypatch.setenv("SLUICE_STACK", "id")
    monkeypatch.setenv("SLUICE_COMPONENT", "kafka")
    monkeypatch.setenv("SLUICE_REDIS", "typo")
    monkeypatch.setenv("SLUICE_KAFKA_BOOTSTRP", "typo")
    assert unknown_variables() == ["SLUICE_KAFKA_BOOTSTRP", "SLUICE_REDIS"]


def test_every_setting_that_the_help_shows_says_what_it_is() -> None:
    mute = [name for name, field in Settings.model_fields.items() if not field.description]
    assert mute == []


@pytest.mark.parametrize("address", [
    "http://me:hush-hush@flink:8081", "https://me@flink/rest", "http://me:hush/hush-hush@flink:8081",
])
def test_a_password_in_flinks_address_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("SLUICE_FLINK_URL", address)
    with pytest.raises(MisuseError) as refused:
        load_settings()
    assert "SLUICE_FLINK_URL" in refused.value.message
    assert "proxy" in refused.value.hint
    assert "hush" not in f"{refused.value.message} {refused.value.hint}"
