"""What Kubernetes needs to run the jobs: resources of Flink's operator, written from the specs.

Field names are those of flink.apache.org/v1beta1. docs/kubernetes.md says how they are used.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from control.lifecycle.releases import job_parallelism, job_settings
from control.settings import ADDRESSES, PREFIX, Settings, secret_settings
from jobs.spec import JobSpec

CLUSTER = "sluice"
CONFIG_MAP = "sluice-settings"
# It holds passwords: named here, written by nobody but a person.
PRIVATE = "sluice-secrets"
VOLUME = "sluice-flink"

_API = "flink.apache.org/v1beta1"
_LABELS = {"app.kubernetes.io/part-of": "sluice"}
# What the operator's own chart makes in each namespace that it watches.
_SERVICE_ACCOUNT = "flink"
# The user of our image; a number, because a name does not prove that it is not root.
_USER = 10001
_STATE = "/var/lib/sluice/flink"
# 6 GB of deduplication, three checkpoints of it, a dozen savepoints.
_STATE_SIZE = "100Gi"
# Where Flink puts the settings in a container. Our image's environment names another place.
_CONF = "/opt/flink/conf"
_LOGGING = "log4j-console.properties"

_ADDRESSES_THERE = {
    "kafka_bootstrap": "kafka:9092",
    # The operator's service for the cluster's REST API.
    "flink_url": f"http://{CLUSTER}-rest:8081",
}

# The operator sets them from the resources of the pods.
_BY_THE_OPERATOR = ("jobmanager.memory.process.size", "taskmanager.memory.process.size")
_NO_ZOOKEEPER = "high-availability.zookeeper."
_IN_KUBERNETES = {
    "high-availability.type": "kubernetes",
    "high-availability.storageDir": f"file://{_STATE}/ha",
    "execution.checkpointing.dir": f"file://{_STATE}/checkpoints",
    "execution.checkpointing.savepoint-dir": f"file://{_STATE}/savepoints",
    # Flink puts `bash -c ...` behind it. The default is the entry script of Flink's own image,
    # which ours has not.
    "kubernetes.entry.path": "/usr/bin/env",
    # Of 2 GB, a quarter more: the Python process that builds the graph of a job runs there.
    "kubernetes.jobmanager.memory.limit-factor": "1.25",
    # Of 6 GB, a tenth more: Python workers in process mode beyond their share.
    "kubernetes.taskmanager.memory.limit-factor": "1.1",
}

# The operator's words are ours, but for a trial, which it does not know: what comes after one.
_UPGRADE_MODES = {"shadow": "savepoint"}


@dataclass(frozen=True)
class Target:
    """Where the jobs are to run."""

    image: str
    namespace: str
    # Of the package apache-flink: 2.2.1.
    flink: str


@dataclass(frozen=True)
class Sources:
    """The profile of Flink that the cluster follows."""

    flink: Mapping[str, object]
    logging: str


@dataclass(frozen=True)
class Wanted:
    """A job as the settings want it."""

    spec: JobSpec
    parallelism: int
    # What differs from the defaults, for this job alone; ours, and Flink's.
    settings: Mapping[str, Any]
    flink: Mapping[str, str]


def wanted_jobs(settings: Settings, specs: Iterable[JobSpec]) -> list[Wanted]:
    """Return each job with its settings; refuse a secret among them."""
    jobs = []
    for spec in specs:
        own = job_settings(settings, spec)
        flink = own.pop("flink", {})
        jobs.append(Wanted(spec, job_parallelism(settings, spec), own, flink))
    return jobs


def k8s_files(target: Target, jobs: Sequence[Wanted], sources: Sources) -> dict[str, str]:
    """Return the text of each file, by its name."""
    documents = {
        "cluster.yaml": cluster(target, sources),
        "settings.yaml": settings_map(target),
        "volume.yaml": volume(target),
        **{f"job-{job.spec.name}.yaml": session_job(target, job) for job in jobs},
    }
    documents["kustomization.yaml"] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": target.namespace,
        "resources": sorted(documents),
    }
    return {name: _text(documents[name]) for name in sorted(documents)}


def cluster(target: Target, sources: Sources) -> dict[str, Any]:
    """Return the session cluster that all jobs share."""
    slots = int(str(sources.flink["taskmanager.numberOfTaskSlots"]))
    major, minor, *_ = target.flink.split(".")
    return {
        "apiVersion": _API,
        "kind": "FlinkDeployment",
        "metadata": _metadata(target, CLUSTER),
        "spec": {
            "image": target.image,
            "flinkVersion": f"v{major}_{minor}",
            "mode": "native",
            "serviceAccount": _SERVICE_ACCOUNT,
            "flinkConfiguration": flink_configuration(sources.flink),
            "logConfiguration": {_LOGGING: sources.logging},
            "jobManager": {
                "replicas": 1,
                "resource": {"cpu": 1, "memory": sources.flink["jobmanager.memory.process.size"]},
            },
            # How many there are follows from the slots that the jobs ask for. One core a slot is
            # Flink's own default.
            "taskManager": {
                "resource": {
                    "cpu": slots, "memory": sources.flink["taskmanager.memory.process.size"],
                },
            },
            "podTemplate": _pod(),
        },
    }


def flink_configuration(profile: Mapping[str, object]) -> dict[str, str]:
    """Return a profile as the operator takes it: without what it sets, all values as text."""
    kept = {
        key: _word(value) for key, value in profile.items()
        if key not in _BY_THE_OPERATOR and not key.startswith(_NO_ZOOKEEPER)
    }
    return {**kept, **_IN_KUBERNETES}


def session_job(target: Target, job: Wanted) -> dict[str, Any]:
    """Return a job of the cluster.

    It names no jar: the operator would fetch one into its own pod, by https alone, and PythonDriver
    is in the cluster's class path.
    """
    spec = job.spec
    own = sorted(f"{name}={_word(value)}" for name, value in job.settings.items())
    return {
        "apiVersion": _API,
        "kind": "FlinkSessionJob",
        "metadata": {
            **_metadata(target, spec.name),
            # What an upgrade depends on, so that a change of it is seen in a review.
            "annotations": {
                "sluice/execution-mode": spec.mode,
                "sluice/state": " ".join(sorted(f"{part.uid}={part.form}" for part in spec.state)),
                "sluice/schemas": " ".join(sorted(spec.schemas)),
                "sluice/migration": str(spec.migration),
            },
        },
        "spec": {
            "deploymentName": CLUSTER,
            "flinkConfiguration": {
                "pipeline.max-parallelism": str(spec.max_parallelism),
                # Flink does not know it: it makes a new image a change of the job, too. Without one
                # the new cluster would go on with the graph, and so the code, of the old.
                "sluice.image": target.image,
                **job.flink,
            },
            "job": {
                "entryClass": "org.apache.flink.client.python.PythonDriver",
                "args": ["-pym", "jobs.driver", spec.name, *own],
                "parallelism": job.parallelism,
                "upgradeMode": _UPGRADE_MODES.get(spec.upgrade.strategy, spec.upgrade.strategy),
                "allowNonRestoredState": False,
                "state": "running",
            },
        },
    }


def settings_map(target: Target) -> dict[str, Any]:
    """Return the settings of all jobs that may be read by everybody."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(target, CONFIG_MAP),
        "data": {_variable(name): value for name, value in _ADDRESSES_THERE.items()},
    }


def volume(target: Target) -> dict[str, Any]:
    """Return the claim on the directory that all of Flink's processes see."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(target, VOLUME),
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": _STATE_SIZE}},
        },
    }


def _pod() -> dict[str, Any]:
    return {
        "spec": {
            # Kubernetes would name a variable SLUICE_... after each service of ours.
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER,
                # Else every start walks through all checkpoints.
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "flink-main-container",
                "envFrom": [{"configMapRef": {"name": CONFIG_MAP}}],
                "env": [
                    {"name": "FLINK_CONF_DIR", "value": _CONF},
                    *({"name": name, "valueFrom": {"secretKeyRef": {"name": PRIVATE, "key": name}}}
                      for name in sorted(map(_variable, secret_settings() & set(ADDRESSES)))),
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "flink", "mountPath": _STATE}],
            }],
            "volumes": [{"name": "flink", "persistentVolumeClaim": {"claimName": VOLUME}}],
        },
    }


def _metadata(target: Target, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": target.namespace, "labels": dict(_LABELS)}


def _variable(setting: str) -> str:
    return f"{PREFIX}{setting.upper()}"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(document: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    # A folded line would change with its length.
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_sorted(document), stream)
    return stream.getvalue()


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(one) for one in value]
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value
