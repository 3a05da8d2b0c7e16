"""What is started: a tree's own words about its jobs, settings that shape it, never a secret."""

import json
from pathlib import Path

import pytest

from control.errors import MisuseError, RefusedError
from control.lifecycle.releases import (
    find_spec,
    job_parallelism,
    job_settings,
    read_specs,
    version_of,
    worker_packages,
)
from control.settings import PROJECT_ROOT, Settings, load_settings
from jobs.catalogue import JOBS, find_job
from jobs.spec import JobSpec


def test_a_tree_tells_its_jobs() -> None:
    assert tuple(read_specs(PROJECT_ROOT).values()) == JOBS


def test_an_unknown_job_is_refused_with_the_known_ones() -> None:
    with pytest.raises(MisuseError) as error:
        find_spec(PROJECT_ROOT, "nothing")
    assert "ingest, timescale, search" in error.value.hint


def test_a_broken_catalogue_is_an_error_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").touch()
    (tmp_path / "jobs" / "catalogue.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(RefusedError, match="nowhere_to_be_found"):
        read_specs(tmp_path)


def test_only_what_differs_and_shapes_the_job_is_kept() -> None:
    job = find_job("ingest")
    assert job is not None
    assert job_settings(load_settings(), job) == {}
    chosen = job_settings(
        load_settings(ingest_late_seconds=7, search_keep_days=3, ingest_parallelism=4), job
    )
    assert chosen == {"ingest_late_seconds": 7}


def test_a_profile_speaks_of_one_job(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text('[jobs.ingest]\ncheckpoint_seconds = 5\n[jobs.ingest.flink]\n"a.b" = 3\n')
    settings = load_settings(profile=profile)
    ingest, search = find_job("ingest"), find_job("search")
    assert ingest is not None
    assert search is not None
    assert job_settings(settings, ingest) == {"checkpoint_seconds": 5, "flink": {"a.b": "3"}}
    assert job_settings(settings, search) == {}


def test_a_profile_may_give_one_job_its_parallelism(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text("[jobs.ingest]\ningest_parallelism = 3\n")
    settings = load_settings(profile=profile, timescale_parallelism=2)
    found = {job.name: job_parallelism(settings, job) for job in JOBS}
    assert found == {"ingest": 3, "timescale": 2, "search": 1}
    # It is no part of the version: scaling is no upgrade.
    assert job_settings(settings, JOBS[0]) == {}


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_no_secret_is_kept(job: JobSpec) -> None:
    secret = "hush-hush"
    settings = load_settings(
        timescale_dsn=f"postgresql://me:{secret}@127.0.0.1:1/x", s3_secret=secret,
        redis_url=f"redis://:{secret}@127.0.0.1:1/0",
    )
    assert secret not in json.dumps(job_settings(settings, job), default=str)
    shaping = {name for name in Settings.model_fields if name.startswith(job.settings)}
    assert not {"timescale_dsn", "redis_url", "registry_url", "s3_secret"} & shaping


@pytest.mark.parametrize("key", [
    "fs.azure.account.key.mine.blob.core.windows.net", "s3.secret-key",
    "security.ssl.rest.password", "metrics.reporter.dghttp.apikey", "a.api-key", "a.auth-params",
    "a.service-key", "dynatrace.TOKEN", "rest.basic-auth.credentials", "sasl.JAAS.config",
    "traces.reporter.otel.http-headers",
])
def test_no_secret_of_flinks_is_kept(key: str) -> None:
    # In a profile a key may be quoted, or be tables within tables.
    nested: object = "hush-hush"
    for part in reversed(key.split(".")):
        nested = {part: nested}
    for flink in ({key: "hush-hush"}, nested):
        settings = load_settings(jobs={"ingest": {"flink": flink}})
        with pytest.raises(MisuseError) as refused:
            job_settings(settings, JOBS[0])
        said = f"{refused.value.message} {refused.value.hint}"
        assert key in said
        assert "hush-hush" not in said


def test_a_version_is_of_code_and_settings() -> None:
    assert version_of("a", {"x": 1, "y": 2}) == version_of("a", {"y": 2, "x": 1})
    assert version_of("a", {"x": 1}) != version_of("a", {"x": 2})
    assert version_of("a", {}) != version_of("b", {})


def test_where_workers_find_packages() -> None:
    own = load_settings()
    assert str(own.home) in str(worker_packages(own, "abc"))
    theirs = load_settings(flink_url="http://127.0.0.1:1")
    assert worker_packages(theirs, "abc") is None
    shared = load_settings(flink_url="http://127.0.0.1:1", worker_code="/mnt/code/")
    assert worker_packages(shared, "abc") == "/mnt/code/abc/packages"
