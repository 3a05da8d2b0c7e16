"""A job is started as Flink's Kubernetes operator does it: by REST, from what `k8s/` says."""

import io
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from control.lifecycle.decide import new_id
from control.settings import PROJECT_ROOT
from tests.kit import flink
from tests.kit.ingest import FLAWS, let_it_catch_up, produce
from tests.kit.jobs import end_job
from tests.kit.outcome import Manifest, Outlet
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until


@pytest.mark.long
def test_a_session_job_goes_on_from_its_savepoint(stack: TestStack, tmp_path: Path) -> None:
    stack.ok("db", "migrate")
    resource = YAML(typ="safe").load(PROJECT_ROOT / "k8s" / "job-ingest.yaml")["spec"]
    files = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    try:
        first = _run(stack, resource)
        let_it_catch_up(stack, first)
        outlet = Outlet(stack.settings().kafka_bootstrap)
        produce(stack, files[0], 1_000, *FLAWS, seed=911)
        savepoint = flink.stop_with_savepoint(stack, first)
        produce(stack, files[1], 1_000, *FLAWS, seed=912)
        _run(stack, resource, savepoint)
        outlet.check(Manifest.read(*files))
    finally:
        end_job(stack)


def _run(stack: TestStack, resource: dict[str, Any], savepoint: str | None = None) -> str:
    """Run a session job as the operator does, on the addresses of this stack; return its id."""
    settings, job = stack.settings(), resource["job"]
    url, number = settings.flink_url, new_id()
    jar = httpx.post(f"{url}/jars/upload", timeout=30, files={
        "jarfile": ("empty.jar", _empty_jar(), "application/x-java-archive"),
    }).raise_for_status().json()["filename"].rpartition("/")[2]
    httpx.post(f"{url}/jars/{jar}/run", timeout=120, json={
        "entryClass": job["entryClass"],
        # In a cluster of Kubernetes the addresses come by the container's environment.
        "programArgsList": [*job["args"], f"kafka_bootstrap={settings.kafka_bootstrap}",
                            f"registry_url={settings.registry_url.get_secret_value()}"],
        "parallelism": job["parallelism"], "jobId": number,
        "allowNonRestoredState": job["allowNonRestoredState"], "savepointPath": savepoint,
        "flinkConfiguration": resource["flinkConfiguration"],
    }).raise_for_status()
    httpx.delete(f"{url}/jars/{jar}", timeout=30)
    wait_until("running", lambda: flink.is_running(stack, number), 120)
    return number


def _empty_jar() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    return content.getvalue()
