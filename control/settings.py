"""The one typed, frozen settings object: environment, then a TOML profile, then the local stack."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from control.errors import MisuseError

PROJECT_ROOT = Path(__file__).resolve().parents[1]

PREFIX = "SLUICE_"

_SCHEME = re.compile(r"\s*[\w+.-]+://")

# Up to the last @: a password that should have been escaped must not be shown either.
_PASSWORD_BEFORE_HOST = re.compile(r"^([^:]*):.*@", re.DOTALL)

# libpq and Redis take the password as a query parameter too.
_PASSWORD_PARAMETER = re.compile(r"([?&](?:ssl)?password=)[^&]*")

# The settings that name a server. Setting one makes the local stack use that server instead.
ADDRESSES = (
    "kafka_bootstrap",
    "registry_url",
    "timescale_dsn",
    "elasticsearch_url",
    "redis_url",
    "flink_url",
)


class Settings(BaseSettings):
    """Everything that can be set, with defaults that point at the local stack."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True,
        # `SLUICE_X=` is how a shell or a compose file says "not set".
        env_ignore_empty=True,
    )

    home: Path = Field(PROJECT_ROOT / ".sluice", description="state, data and logs of the stack")
    cache: Path | None = Field(
        None, description="downloads of all stacks; default: .sluice/cache of the project"
    )
    schemas: Path = Field(
        PROJECT_ROOT / "schemas", description="the schemas of events, and domains.toml"
    )
    profile: Path | None = Field(None, description="a TOML file with settings, without the prefix")

    kafka_bootstrap: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port,...")
    registry_url: SecretStr = Field(
        SecretStr("http://127.0.0.1:8080/apis/ccompat/v7"),
        description="base address of the registry's Confluent API",
    )
    timescale_dsn: SecretStr = Field(
        SecretStr("postgresql://sluice@127.0.0.1:5432/sluice"),
        description="TimescaleDB or PostgreSQL, as a libpq URI or key=value string",
    )
    elasticsearch_url: SecretStr = Field(
        SecretStr("http://127.0.0.1:9200"), description="Elasticsearch"
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Redis or Valkey"
    )
    flink_url: str = Field("http://127.0.0.1:8081", description="Flink's REST address")

    maven_url: str = Field(
        "", pattern=r"^(\w+://.+)?$",
        description="base address of the Maven repository; default: Maven Central",
    )
    java_home: Path | None = Field(None, description="the Java to use where it fits, or `bundled`")
    kafka_replication: int = Field(
        -1, ge=-1, le=10, description="replicas of the topics made; -1: the broker's default"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="json, pretty, or auto: pretty on a terminal"
    )

    checkpoint_seconds: float | None = Field(
        None, ge=0.1, description="between two checkpoints of a job; default: the cluster's"
    )
    buffer_timeout_ms: int = Field(
        5, ge=0, description="how long a half-full network buffer waits at each hop of a job"
    )
    transaction_timeout_minutes: float = Field(
        24 * 60, gt=0, description="how long a stopped job may take to come back without loss"
    )
    ingest_parallelism: int = Field(1, ge=1, description="parallel tasks of ingest")
    ingest_max_bytes: int = Field(2**20, ge=64, description="the largest event that is taken")
    ingest_max_age_days: float = Field(365, gt=0, description="how old an event may be")
    ingest_max_ahead_minutes: float = Field(
        60, ge=0, description="how far in the future an event may claim to happen"
    )
    ingest_late_seconds: float = Field(
        60, ge=0, description="an event taken later than this after it happened counts as late"
    )
    ingest_dedupe_hours: float = Field(
        48, gt=0, description="for how long a second event with the same id is a duplicate"
    )
    ingest_idle_seconds: float = Field(
        5, gt=0, description="a partition silent for this long does not hold up event time"
    )

    timescale_parallelism: int = Field(1, ge=1, description="parallel tasks of timescale")
    search_parallelism: int = Field(1, ge=1, description="parallel tasks of search")
    search_keep_days: int = Field(
        30, ge=1, description="for how many days events can be searched, today included"
    )
    sink_batch_rows: int = Field(
        5_000, ge=1, le=100_000, description="most events that a sink writes at once"
    )
    sink_batch_bytes: int = Field(
        8 * 2**20, ge=2**10, description="most bytes that a sink writes at once"
    )
    timescale_linger_ms: int = Field(
        10, ge=1, description="how long timescale waits for more events before it writes"
    )
    search_linger_ms: int = Field(
        200, ge=1, description="how long search waits for more events before it writes"
    )
    sink_stall_minutes: float = Field(
        24 * 60, gt=0, description="how long a sink waits for its store before its job fails"
    )

    source: Path = Field(
        PROJECT_ROOT, description="the tree whose jobs are deployed: a checkout"
    )
    archive_store: str = Field(
        "", description="where archives of deployed code lie: a folder, or s3://bucket/prefix"
    )
    s3_endpoint: str = Field("", description="address of a store that speaks S3; default: AWS")
    s3_region: str = Field("us-east-1", description="the region that requests are signed for")
    s3_key: str = Field("", description="the access key of that store")
    s3_secret: SecretStr = Field(SecretStr(""), description="the secret that belongs to it")
    worker_code: str = Field(
        "", description="where workers find unpacked code; default: here, on the local stack"
    )
    send_jars: bool | None = Field(
        None, description="send the connectors with each job; default: not to the local stack"
    )
    worker_python: str = Field(
        "", description="the workers' Python; default: this one, or what their cluster says"
    )

    allow_dirty: bool = Field(
        False, description="deploy a tree that differs from its last commit"
    )
    jobs: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="in a profile: [jobs.NAME] for one job, [jobs.NAME.flink] for Flink",
    )

    flink: dict[str, str] = Field(
        default_factory=dict,
        description="in a profile: [flink], Flink's own settings for the local stack",
    )

    explicit: frozenset[str] = Field(
        frozenset(), description="the addresses that were set by a person, not by the stack"
    )

    @property
    def cache_dir(self) -> Path:
        """Where downloads are kept."""
        return self.cache or PROJECT_ROOT / ".sluice" / "cache"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - their signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, profile, the running local stack."""
        environment = _known(env_settings())
        given = _known(init_settings())
        profile = _read_profile(given.get("profile") or environment.get("profile"))
        chosen = {**profile, **environment, **given}
        home = Path(chosen.get("home") or cls.model_fields["home"].default)
        local = read_local_addresses(home.expanduser())
        explicit = frozenset(name for name in ADDRESSES if name in chosen)
        return (
            init_settings,
            env_settings,
            InitSettingsSource(settings_cls, profile),
            InitSettingsSource(settings_cls, {**local, "explicit": explicit}),
        )


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _read_profile(path: str | Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        message = f"The profile {path} cannot be read: {error.strerror}."
        raise MisuseError(message, f"Check {PREFIX}PROFILE.") from error
    except ValueError as error:
        message = f"The profile {path} is not valid TOML: {error}."
        raise MisuseError(message, "Mend the file; its keys are the settings' names.") from error
    return values


def read_local_addresses(home: Path) -> dict[str, str]:
    """Return the addresses that the local stack under `home` wrote down when it started."""
    try:
        content = json.loads((home / "addresses.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: str(value) for key, value in content.items() if key in ADDRESSES}


def load_settings(**overrides: Any) -> Settings:
    """Read the settings, turning a bad value into an error that names the setting."""
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{'.'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        )
        message = f"A setting is wrong: {problems}."
        raise MisuseError(message, "`sluice --help` lists the settings.") from None
    except SettingsError as error:
        message = f"A setting is wrong: {error}."
        raise MisuseError(message, "`sluice --help` lists the settings.") from error
    if "@" in settings.flink_url:
        message = (f"{PREFIX}FLINK_URL holds a user or a password: Flink's client does not know"
                   " them, and would show them to whoever lists the processes.")
        raise MisuseError(message, "Leave them out. Where Flink asks for them, let a proxy on this"
                                   " machine add them, and name the proxy.")
    absolute = {
        "home": settings.home.expanduser().absolute(),
        "schemas": settings.schemas.expanduser().absolute(),
        "source": settings.source.expanduser().absolute(),
    }
    return settings.model_copy(update=absolute)


def secret_settings() -> set[str]:
    """Return the names of the settings that hold a secret."""
    return {name for name, field in Settings.model_fields.items() if field.annotation is SecretStr}


def unknown_variables() -> list[str]:
    """Return the SLUICE_* variables that are set and name no setting: misspelt, most likely."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    # Set by the stack for the processes it starts, never by a person.
    known |= {f"{PREFIX}STACK", f"{PREFIX}COMPONENT"}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def public(address: str | SecretStr) -> str:
    """Return an address as it may be shown: without its password."""
    text = address.get_secret_value() if isinstance(address, SecretStr) else address
    scheme = _SCHEME.match(text)
    if scheme is not None or "=" not in text:
        start = scheme.end() if scheme is not None else 0
        rest = _PASSWORD_BEFORE_HOST.sub(r"\1:***@", text[start:])
        return text[:start] + _PASSWORD_PARAMETER.sub(r"\1***", rest)
    try:
        values = conninfo_to_dict(text)
    except ProgrammingError:
        # Not even libpq can read it, so nobody can tell where its password is.
        return "***"
    return make_conninfo(**{
        key: "***" if key in {"password", "sslpassword"} else str(value)
        for key, value in values.items()
    })
