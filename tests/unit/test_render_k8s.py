"""`sluice render k8s`: what is written, and that k8s/ holds it."""

import importlib
import json
import re
import struct
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from ruamel.yaml import YAML

from control.cli import main
from control.cli import render as command
from control.cli.lazy import Place
from control.errors import MisuseError
from control.lifecycle.releases import read_specs
from control.render.files import HEADER
from control.render.k8s import Sources, Target, Wanted, k8s_files, wanted_jobs
from control.settings import ADDRESSES, PREFIX, PROJECT_ROOT, Settings, load_settings
from control.stack.servers.flink_conf import read_profile
from control.stack.servers.flink_dist import FLINK_DIST
from jobs.catalogue import JOBS
from jobs.spec import JobSpec, StatePart, UpgradePolicy

Output = pytest.CaptureFixture[str]

CHECKED_IN = PROJECT_ROOT / "k8s"
TARGET = Target("sluice:9.9.9", "somewhere", "2.2.1")
PROFILE = read_profile(PROJECT_ROOT / "flink-conf" / "production" / "config.yaml")
SOURCES = Sources(PROFILE, "rootLogger.level = INFO\n")
SPEC = JobSpec(
    "some-job", "does something", "jobs.some", ("a",), (), mode="thread", max_parallelism=360,
    state=(StatePart("zebra", "zebra/2", ""), StatePart("ant", "ant/1", "")), migration=4,
    parallelism_setting="ingest_parallelism", settings=("sink_", "ingest_"),
    upgrade=UpgradePolicy(strategy="last-state"),
)


_read_specs = cache(read_specs)


@pytest.fixture(autouse=True)
def _command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(main.COMMANDS, "render", Place("control.cli.render", "Write files."))
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    # Each time it is a process of its own.
    monkeypatch.setattr(command, "read_specs", _read_specs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that holds what is rendered."""
    out = tmp_path / "k8s"
    assert render(out) == 0
    return out


def render(out: Path, *more: str) -> int:
    return main.run(["render", "k8s", "--out", str(out), *more])


def texts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


def document(text: str) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(text)
    return content


def rendered(*jobs: Wanted) -> dict[str, dict[str, Any]]:
    return {name: document(text) for name, text in k8s_files(TARGET, jobs, SOURCES).items()}


def some_job(spec: JobSpec = SPEC, parallelism: int = 3, **settings: Any) -> dict[str, Any]:
    return rendered(Wanted(spec, parallelism, settings, {}))[f"job-{spec.name}.yaml"]


def main_container() -> dict[str, Any]:
    pod = rendered()["cluster.yaml"]["spec"]["podTemplate"]["spec"]
    assert len(pod["containers"]) == 1
    container: dict[str, Any] = pod["containers"][0]
    return container


# --- The files of the repository ------------------------------------------------------------------


def test_the_files_checked_in_are_what_the_specs_say(folder: Path) -> None:
    assert texts(CHECKED_IN) == texts(folder), "run `sluice render k8s`"


def test_a_second_time_changes_nothing(folder: Path, capsys: Output) -> None:
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    capsys.readouterr()
    assert render(folder, "--json") == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} == {"same"}
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_the_order_of_what_comes_in_does_not_matter() -> None:
    jobs = [Wanted(spec, 1, {"b": 1, "a": 2}, {}) for spec in JOBS]
    turned = [Wanted(spec, 1, {"a": 2, "b": 1}, {}) for spec in JOBS[::-1]]
    backwards = Sources(dict(sorted(PROFILE.items(), reverse=True)), SOURCES.logging)
    assert k8s_files(TARGET, jobs, SOURCES) == k8s_files(TARGET, turned, backwards)


def test_every_file_is_listed_for_kustomize(folder: Path) -> None:
    listed = document((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(texts(folder).keys() - {"kustomization.yaml"})
    assert {f"job-{job.name}.yaml" for job in JOBS} < set(listed)


# --- --check --------------------------------------------------------------------------------------


def test_check_is_content_with_what_was_just_written(folder: Path) -> None:
    assert render(folder, "--check") == 0


def test_check_names_what_differs_and_the_command_and_writes_nothing(
    folder: Path, capsys: Output
) -> None:
    (folder / "job-search.yaml").unlink()
    with (folder / "cluster.yaml").open("a") as file:
        file.write("more: true\n")
    before = texts(folder)
    assert render(folder, "--check") == 1
    error = capsys.readouterr().err
    assert re.findall(r"[\w-]+\.yaml", error) == ["cluster.yaml", "job-search.yaml"]
    assert f"sluice render k8s --out {folder}" in error
    assert texts(folder) == before
    assert render(folder) == 0
    assert render(folder, "--check") == 0


def test_check_counts_the_image_and_the_namespace(folder: Path, capsys: Output) -> None:
    assert render(folder, "--check", "--image", "elsewhere/sluice:1") == 1
    assert "--image elsewhere/sluice:1" in capsys.readouterr().err
    assert render(folder, "--check", "--namespace", "other") == 1
    assert "--namespace other" in capsys.readouterr().err


def test_a_job_that_is_no_more_leaves_no_file(folder: Path, capsys: Output) -> None:
    (folder / "job-gone.yaml").write_text(f"{HEADER}kind: FlinkSessionJob\n")
    (folder / "own.yaml").write_text("# A person's own.\n")
    assert render(folder, "--check") == 1
    error = capsys.readouterr().err
    assert "job-gone.yaml" in error
    assert "own.yaml" not in error
    assert render(folder) == 0
    assert not (folder / "job-gone.yaml").exists()
    assert (folder / "own.yaml").exists()


def test_a_name_that_kubernetes_does_not_take_is_refused(tmp_path: Path, capsys: Output) -> None:
    assert render(tmp_path / "k8s", "--namespace", "Not_This") == 2
    assert "--namespace" in capsys.readouterr().err
    assert not (tmp_path / "k8s").exists()


# --- Secrets --------------------------------------------------------------------------------------


def test_no_secret_of_the_settings_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, field in Settings.model_fields.items():
        if field.annotation is SecretStr:
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", "redis://user:hush-hush@secret-host:1/0")
    assert render(tmp_path / "again") == 0
    written = texts(tmp_path / "again")
    assert "hush-hush" not in str(written)
    assert "secret-host" not in str(written)
    assert written == texts(folder)


def test_the_containers_get_each_secret_address_from_the_secret() -> None:
    fields = Settings.model_fields
    env = {one["name"]: one for one in main_container()["env"]}
    for name in ADDRESSES:
        variable = f"{PREFIX}{name.upper()}"
        if fields[name].annotation is SecretStr:
            reference = {"name": "sluice-secrets", "key": variable}
            assert env[variable] == {"name": variable, "valueFrom": {"secretKeyRef": reference}}
        else:
            assert variable in rendered()["settings.yaml"]["data"]
            assert variable not in env
    assert not [doc for doc in rendered().values() if doc["kind"] == "Secret"]


def test_every_variable_is_a_setting() -> None:
    names = [one["name"] for one in main_container()["env"]]
    for name in [*rendered()["settings.yaml"]["data"], *names]:
        if name.startswith(PREFIX):
            assert name.removeprefix(PREFIX).lower() in Settings.model_fields


@pytest.mark.parametrize("name", ["timescale_dsn", "s3_secret"])
def test_a_secret_among_the_settings_of_one_job_is_refused(name: str) -> None:
    settings = load_settings(jobs={"search": {name: "hush-hush"}})
    with pytest.raises(MisuseError) as refused:
        wanted_jobs(settings, JOBS)
    assert name in refused.value.message
    assert "hush-hush" not in f"{refused.value.message} {refused.value.hint}"


def test_a_secret_among_flinks_settings_of_one_job_is_refused() -> None:
    settings = load_settings(jobs={"search": {"flink": {"s3.secret-key": "hush-hush"}}})
    with pytest.raises(MisuseError) as refused:
        wanted_jobs(settings, JOBS)
    assert "s3.secret-key" in refused.value.message
    assert "hush-hush" not in f"{refused.value.message} {refused.value.hint}"


# --- Jobs -----------------------------------------------------------------------------------------


def test_a_job_follows_its_spec() -> None:
    job = some_job()
    assert job["metadata"]["name"] == "some-job"
    assert job["metadata"]["namespace"] == "somewhere"
    assert job["metadata"]["annotations"] == {
        "sluice/execution-mode": "thread", "sluice/migration": "4", "sluice/schemas": "",
        "sluice/state": "ant=ant/1 zebra=zebra/2",
    }
    assert job["spec"]["deploymentName"] == rendered()["cluster.yaml"]["metadata"]["name"]
    assert job["spec"]["flinkConfiguration"]["pipeline.max-parallelism"] == "360"
    assert job["spec"]["job"] == {
        "entryClass": "org.apache.flink.client.python.PythonDriver",
        "args": ["-pym", "jobs.driver", "some-job"], "parallelism": 3, "upgradeMode": "last-state",
        "state": "running", "allowNonRestoredState": False,
    }


@pytest.mark.parametrize(("strategy", "mode"), [
    # The operator knows no trial beside the running job: what comes after it is the same.
    ("savepoint", "savepoint"), ("last-state", "last-state"), ("shadow", "savepoint"),
])
def test_the_upgrade_mode_is_one_that_the_operator_knows(strategy: str, mode: str) -> None:
    job = some_job(replace(SPEC, upgrade=UpgradePolicy(strategy=strategy)))
    assert job["spec"]["job"]["upgradeMode"] == mode


def test_the_jobs_of_the_product_keep_their_uids(folder: Path) -> None:
    for spec in JOBS:
        job = document((folder / f"job-{spec.name}.yaml").read_text())
        state = job["metadata"]["annotations"]["sluice/state"].split()
        assert dict(part.split("=") for part in state) == {one.uid: one.form for one in spec.state}
        assert job["spec"]["job"]["parallelism"] == 1
        assert job["spec"]["job"]["upgradeMode"] == spec.upgrade.strategy == "savepoint"


def test_a_job_has_its_own_settings() -> None:
    settings = load_settings(
        timescale_parallelism=2, sink_batch_rows=77, search_parallelism=5, kafka_bootstrap="x:1",
        jobs={"search": {"search_parallelism": 6, "sink_batch_rows": 88,
                         "flink": {"execution.checkpointing.interval": "1s"}}},
    )
    jobs = {job.spec.name: job for job in wanted_jobs(settings, JOBS)}
    assert [jobs[name].parallelism for name in ("ingest", "timescale", "search")] == [1, 2, 6]
    assert jobs["ingest"].settings == {}
    assert jobs["timescale"].settings == {"sink_batch_rows": 77}
    assert jobs["search"].settings == {"sink_batch_rows": 88}
    files = rendered(*jobs.values())
    search = files["job-search.yaml"]["spec"]
    assert search["job"]["args"] == ["-pym", "jobs.driver", "search", "sink_batch_rows=88"]
    assert search["job"]["parallelism"] == 6
    assert search["flinkConfiguration"]["execution.checkpointing.interval"] == "1s"
    # Where the servers are is not a matter of whoever renders.
    assert "x:1" not in str(files)


def test_another_image_is_a_change_of_each_job() -> None:
    one = k8s_files(TARGET, [Wanted(SPEC, 1, {}, {})], SOURCES)["job-some-job.yaml"]
    other = k8s_files(replace(TARGET, image="b"), [Wanted(SPEC, 1, {}, {})], SOURCES)
    assert document(one)["spec"] != document(other["job-some-job.yaml"])["spec"]


# --- The cluster ----------------------------------------------------------------------------------


def test_the_profile_is_kept_but_for_what_the_operator_sets() -> None:
    spec = rendered()["cluster.yaml"]["spec"]
    there = spec["flinkConfiguration"]
    for key, value in PROFILE.items():
        text = str(value).lower() if isinstance(value, bool) else value
        if key.endswith("memory.process.size"):
            assert key not in there
            part = "jobManager" if key.startswith("jobmanager") else "taskManager"
            assert spec[part]["resource"]["memory"] == value
        elif "zookeeper" in key:
            assert key not in there
        elif key != "high-availability.type":
            assert there[key] == str(text)
    assert there["high-availability.type"] == "kubernetes"
    assert spec["taskManager"]["resource"]["cpu"] == PROFILE["taskmanager.numberOfTaskSlots"]
    # The operator refuses them.
    assert not there.keys() & {
        "kubernetes.namespace", "kubernetes.cluster-id", "high-availability.cluster-id",
    }


def test_flink_knows_what_is_added_to_the_profile() -> None:
    added = rendered()["cluster.yaml"]["spec"]["flinkConfiguration"].keys() - PROFILE.keys()
    classes = ("kubernetes/configuration/KubernetesConfigOptions",
               "configuration/HighAvailabilityOptions", "configuration/CheckpointingOptions")
    with zipfile.ZipFile(next(FLINK_DIST.glob("lib/flink-dist-*.jar"))) as jar:
        code = b"".join(jar.read(f"org/apache/flink/{name}.class") for name in classes)
    assert len(added) == 6
    for key in added:
        assert struct.pack(">BH", 1, len(key)) + key.encode() in code, key


def test_all_state_lies_on_the_volume() -> None:
    files = rendered()
    mount = main_container()["volumeMounts"][0]
    for key, value in files["cluster.yaml"]["spec"]["flinkConfiguration"].items():
        if str(value).startswith("file:"):
            assert value.startswith(f"file://{mount['mountPath']}/"), key
    pod = files["cluster.yaml"]["spec"]["podTemplate"]["spec"]
    assert pod["volumes"][0]["name"] == mount["name"]
    claim = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == files["volume.yaml"]["metadata"]["name"]


def test_it_fits_the_image() -> None:
    image = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")
    pod = rendered()["cluster.yaml"]["spec"]["podTemplate"]["spec"]
    assert f"useradd --uid {pod['securityContext']['runAsUser']} " in image
    mount = main_container()["volumeMounts"][0]["mountPath"]
    assert re.search(rf"install --directory[^&]*{mount}\b", image)
    # The image names a folder for itself; Flink mounts the cluster's settings into this one.
    assert "FLINK_CONF_DIR=/opt/sluice" in image
    assert {"name": "FLINK_CONF_DIR", "value": "/opt/flink/conf"} in main_container()["env"]
    # Without a jar, the driver has to be in the class path.
    assert "flink-python-*.jar /opt/flink-lib/" in image
    entry = some_job()["spec"]["job"]["entryClass"].replace(".", "/")
    with zipfile.ZipFile(next(FLINK_DIST.glob("opt/flink-python-*.jar"))) as jar:
        assert f"{entry}.class" in jar.namelist()


def test_the_version_of_flink_is_the_one_of_the_image(folder: Path) -> None:
    version = importlib.import_module("pyflink.version").__version__
    major, minor, _ = version.split(".")
    cluster = document((folder / "cluster.yaml").read_text())
    assert cluster["spec"]["flinkVersion"] == f"v{major}_{minor}"


# --- The operator's fields ------------------------------------------------------------------------


def problems(content: dict[str, Any]) -> list[str]:
    text = (Path(__file__).parent / "data" / "flink-operator.schema.yaml").read_text()
    # It comes with check-jsonschema and ships no types.
    validator = importlib.import_module("jsonschema").Draft202012Validator(document(text))
    return [error.message for error in validator.iter_errors(content)]


def test_the_documents_have_fields_that_the_operator_knows(folder: Path) -> None:
    documents = [document(text) for text in texts(folder).values()]
    ours = [one for one in documents if one["apiVersion"] == "flink.apache.org/v1beta1"]
    assert len(ours) == 1 + len(JOBS)
    for one in ours:
        assert problems(one) == [], one["metadata"]["name"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("job/upgrademode", "savepoint"), ("job/upgradeMode", "fresh"), ("job/parallelism", "1"),
        ("deploymentname", "sluice"), ("flinkConfiguration/parallelism.default", 1),
    ],
)
def test_a_wrong_field_is_noticed(path: str, value: object) -> None:
    job = some_job()
    *parents, last = path.split("/")
    part = job["spec"]
    for name in parents:
        part = part[name]
    part[last] = value
    assert problems(job)
