"""Make what can be started: code packed by its hash, and the settings that belong to it."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from control.archive.pack import MANIFEST, pack, read_archive
from control.archive.packages import PACKAGES
from control.archive.s3_access import S3Access
from control.archive.source import SourceTree
from control.archive.store import ArchiveStore, open_store
from control.archive.unpack import unpack
from control.errors import MisuseError, RefusedError
from control.lifecycle.deployments import Release
from control.settings import Settings, secret_settings
from jobs.spec import JobSpec, spec_from_json

# What our code needs where it runs; with all that they require.
_PACKAGES = ("fastavro", "orjson", "psycopg[binary]", "elasticsearch", "httpx")
_SPEC_SECONDS = 30
# By these Flink tells which of its settings it must not show (GlobalConfiguration).
_SECRET_PARTS = (
    "password", "secret", "fs.azure.account.key", "apikey", "api-key", "auth-params",
    "service-key", "token", "basic-auth", "jaas.config", "http-headers",
)


def archive_store(settings: Settings) -> ArchiveStore:
    """Return the store of archives that the settings name."""
    access = S3Access(
        endpoint=settings.s3_endpoint, region=settings.s3_region, key=settings.s3_key,
        secret=settings.s3_secret,
    ) if settings.s3_key else None
    return open_store(settings.archive_store or str(settings.home / "archives"), access)


def read_specs(source: Path) -> dict[str, JobSpec]:
    """Return the jobs of a source tree: its own words, read in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.catalogue"], cwd=source, text=True, capture_output=True,
        check=False, timeout=_SPEC_SECONDS, env={**os.environ, "PYTHONPATH": str(source)},
    )
    try:
        specs = [spec_from_json(one) for one in json.loads(done.stdout)]
    except (ValueError, TypeError, KeyError) as error:
        words = done.stderr.strip().splitlines() or ["it printed no list of jobs"]
        message = f"{source} does not tell its jobs: {words[-1]}"
        raise RefusedError(message, "Mend jobs/catalogue.py there.") from error
    return {spec.name: spec for spec in specs}


def find_spec(source: Path, job: str) -> JobSpec:
    """Return a job of a source tree, or name those that there are."""
    specs = read_specs(source)
    if job not in specs:
        message = f"There is no job {job}."
        raise MisuseError(message, f"The jobs are: {', '.join(specs)}.")
    return specs[job]


def make_release(
    settings: Settings, store: ArchiveStore, spec: JobSpec, *, allow_dirty: bool,
    parallelism: int | None = None,
) -> Release:
    """Pack the source tree that has this job, keep the archive, and return what can be started."""
    tree = SourceTree(settings.source)
    tree.require_clean(allow_dirty)
    manifest = {"commit": tree.commit(), "changed": tree.changes()}
    with tempfile.TemporaryDirectory(prefix="sluice-pack-") as folder:
        archive = pack(tree, Path(folder), manifest, _PACKAGES)
        store.put(archive)
        # It is needed at once.
        unpack(archive, code_folder(settings))
    chosen = job_settings(settings, spec)
    return Release(
        spec.name, archive.hash, version_of(archive.hash, chosen), spec.as_json(), chosen,
        parallelism or job_parallelism(settings, spec),
    )


def job_parallelism(settings: Settings, spec: JobSpec) -> int:
    """Return the parallelism that the settings give a job: its own in a profile, or the common."""
    own = settings.jobs.get(spec.name, {}).get(spec.parallelism_setting)
    return int(own or getattr(settings, spec.parallelism_setting, None) or 1)


def version_of(archive: str, settings: Mapping[str, Any]) -> str:
    """Return the short name of code and settings together."""
    text = json.dumps([archive, settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def job_settings(settings: Settings, spec: JobSpec) -> dict[str, Any]:
    """Return what shapes a job and differs from the defaults; never a secret."""
    chosen: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if (
            name.startswith(spec.settings) and spec.settings
            and name != spec.parallelism_setting and value != field.default
        ):
            chosen[name] = value
    own = settings.jobs.get(spec.name, {})
    for name in secret_settings() & own.keys():
        message = f"[jobs.{spec.name}] holds {name}, which would be kept with the deployment."
        hint = "Take it out of the profile: a secret is set for all jobs, in the environment."
        raise MisuseError(message, hint)
    flink = dict(_flat(own.get("flink", {})))
    for name in filter(_is_secret, flink):
        message = (f"[jobs.{spec.name}.flink] holds {name}, which would be kept with the deployment"
                   " and shown with it.")
        hint = (f"Take it out of the profile and set {name} in the settings of Flink's own"
                " processes, which hide it.")
        raise MisuseError(message, hint)
    chosen |= {name: value for name, value in own.items()
               if name not in {"flink", spec.parallelism_setting}}
    if flink:
        chosen["flink"] = flink
    return chosen


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield Flink's settings by their whole names: TOML takes a name with dots for tables."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", str(value)


def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in _SECRET_PARTS)


def commit_of(settings: Settings, archive_hash: str) -> str | None:
    """Return the commit that an archive was packed from, if its code lies unpacked here.

    A plus behind it: the tree differed from that commit.
    """
    try:
        text = (code_folder(settings) / archive_hash / MANIFEST).read_text(encoding="utf-8")
        manifest = json.loads(text)
        commit = manifest["commit"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return f"{commit[:12]}{'+' if manifest.get('changed') else ''}" if commit else None


def unpacked(store: ArchiveStore, archive_hash: str, folder: Path) -> Path:
    """Return the folder with an archive's code, fetched and unpacked where that is not done."""
    if (folder / archive_hash).is_dir():
        # Used today: what is old is cleared out.
        os.utime(folder / archive_hash)
        return folder / archive_hash
    with tempfile.TemporaryDirectory(prefix="sluice-fetch-") as fetched:
        return unpack(read_archive(store.get(archive_hash, Path(fetched))), folder)


def worker_packages(settings: Settings, archive_hash: str) -> str | None:
    """Return where workers find the packages of an archive, if they can reach them."""
    if settings.worker_code:
        return f"{settings.worker_code.rstrip('/')}/{archive_hash}/{PACKAGES}"
    if "flink_url" in settings.explicit:
        return None
    return str(code_folder(settings) / archive_hash / PACKAGES)


def code_folder(settings: Settings) -> Path:
    """Return where archives are unpacked: a stack's own, since its jobs run from there."""
    return settings.home / "code"

