"""Flink by its REST API: what the control plane asks of it."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any
from urllib.parse import quote

import httpx

from control.errors import SluiceError
from control.flink_answers import (
    Checkpoints,
    Cluster,
    FlinkJob,
    Outcome,
    Requirement,
    read_checkpoints,
    read_job,
    read_outcome,
)
from control.flink_words import reason

_TIMEOUT_SECONDS = 10
_NOT_FOUND = 404
_CONFLICT = 409
# While a JobManager elects itself or recovers its jobs.
_AWAY = frozenset({408, 502, 503, 504})
# The same, said inside of Flink and told as an error of its own.
_AWAY_WORDS = ("UnavailableDispatcherOperationException", "AskTimeoutException")
_UNKNOWN_WORDS = ("FlinkJobNotFoundException", "Could not find Flink job")


class FlinkAwayError(SluiceError):
    """Flink does not answer, or not yet."""


class FlinkUnknownError(SluiceError):
    """Flink does not know what was asked for: a job, a trigger, a vertex."""


class FlinkConflictError(SluiceError):
    """The job is not in a state in which this can be done."""


class FlinkClient:
    """A thin client; every refusal becomes an error for a person."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, transport=transport)

    def __enter__(self) -> "FlinkClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def cluster(self) -> Cluster:
        """Return the cluster's version and slots."""
        answer = self._ask("GET", "/overview")
        return Cluster(
            str(answer["flink-version"]), int(answer["taskmanagers"]),
            int(answer["slots-total"]), int(answer["slots-available"]),
        )

    def cluster_settings(self) -> dict[str, str]:
        """Return the JobManager's settings; Flink hides what looks like a secret."""
        entries = self._ask("GET", "/jobmanager/config")
        return {entry["key"]: str(entry["value"]) for entry in entries}

    def jobs(self) -> list[FlinkJob]:
        """Return all jobs that Flink remembers, the newest first."""
        entries = self._ask("GET", "/jobs/overview")["jobs"]
        return sorted(map(read_job, entries), key=lambda job: -job.started)

    def job(self, job: str) -> FlinkJob | None:
        """Return a job as it is just now; None when Flink does not know it.

        Asked from the list: what Flink says of a single job may be seconds old.
        """
        found = next((one for one in self.jobs() if one.id == job), None)
        return self._unlisted(job) if found is None else found

    def _unlisted(self, job: str) -> FlinkJob | None:
        # A job whose master did not answer in time is left out of the list, and lives.
        try:
            state = self._ask("GET", f"/jobs/{job}/status").get("status")
        except FlinkAwayError:
            raise
        except SluiceError:
            return None
        return FlinkJob(job, "", str(state), 0) if state else None

    def live_job(self, name: str) -> FlinkJob | None:
        """Return the job of this name that has not ended."""
        return next((job for job in self.jobs() if job.name == name and not job.is_over), None)

    def state(self, job: str) -> str | None:
        """Return a job's state just now; None when Flink does not know the job."""
        found = self.job(job)
        return None if found is None else found.state

    def details(self, job: str) -> dict[str, Any]:
        """Return a job's operators; kept by Flink for a while (`web.refresh-interval`)."""
        return dict(self._ask("GET", f"/jobs/{job}"))

    def user_config(self, job: str) -> dict[str, str]:
        """Return what a job was told at its start, as Flink's own pages show it."""
        answer = self._ask("GET", f"/jobs/{job}/config")
        return dict(answer.get("execution-config", {}).get("user-config", {}))

    def last_exception(self, job: str) -> str | None:
        """Return the line that says why a job last failed."""
        last = self._last_failure(job)
        return reason(str(last.get("stacktrace", ""))) if last is not None else None

    def last_failure_at(self, job: str) -> float | None:
        """Return when a job last failed, in seconds since 1970; None where it never did."""
        last = self._last_failure(job)
        return int(last["timestamp"]) / 1000 if last is not None else None

    def _last_failure(self, job: str) -> dict[str, Any] | None:
        history = self._ask("GET", f"/jobs/{job}/exceptions").get("exceptionHistory", {})
        return next(iter(history.get("entries", [])), None)

    def checkpoints(self, job: str) -> Checkpoints:
        """Return how a job's checkpoints went; kept by Flink for a while."""
        return read_checkpoints(self._ask("GET", f"/jobs/{job}/checkpoints"))

    def job_metrics(self, job: str, names: Sequence[str]) -> dict[str, float]:
        """Return those metrics of a job as a whole that Flink has."""
        return self._metrics(f"/jobs/{job}/metrics?get={_quoted(names)}", "value")

    def metric_names(self, job: str, vertex: str) -> list[str]:
        """Return the names of the metrics that a vertex's subtasks have."""
        entries = self._ask("GET", f"/jobs/{job}/vertices/{vertex}/subtasks/metrics")
        return [str(entry["id"]) for entry in entries]

    def vertex_metrics(
        self, job: str, vertex: str, names: Sequence[str], aggregate: str = "sum"
    ) -> dict[str, float]:
        """Return metrics over all subtasks of a vertex: their sum, min, max or avg."""
        path = f"/jobs/{job}/vertices/{vertex}/subtasks/metrics"
        return self._metrics(f"{path}?get={_quoted(names)}&agg={aggregate}", aggregate)

    def backpressure(self, job: str, vertex: str) -> float | None:
        """Return the highest share of time that a subtask waits for those after it, 0 to 1."""
        answer = self._ask("GET", f"/jobs/{job}/vertices/{vertex}/backpressure")
        shares = [float(task["ratio"]) for task in answer.get("subtasks", [])]
        return max(shares, default=None)

    def cancel(self, job: str) -> None:
        """Tell Flink to end a job at once, without a savepoint."""
        self._ask("PATCH", f"/jobs/{job}?mode=cancel")

    def savepoint(self, job: str, trigger: str, folder: str | None = None) -> None:
        """Begin a savepoint. The same trigger again begins nothing new."""
        self._ask("POST", f"/jobs/{job}/savepoints", {
            "triggerId": trigger, **({"target-directory": folder} if folder else {}),
        })

    def stop(
        self, job: str, trigger: str, *, drain: bool = False, folder: str | None = None,
        native: bool = False,
    ) -> None:
        """Begin to stop a job with a savepoint. The same trigger again begins nothing new.

        A native savepoint holds the state backend's own files: much faster to write and to read,
        but only this backend reads it.
        """
        self._ask("POST", f"/jobs/{job}/stop", {
            "triggerId": trigger, "drain": drain,
            "formatType": "NATIVE" if native else "CANONICAL",
            **({"targetDirectory": folder} if folder else {}),
        })

    def outcome(self, job: str, trigger: str) -> Outcome:
        """Return how far a savepoint or a stop is; unknown to Flink is an error of its own."""
        return read_outcome(self._ask("GET", f"/jobs/{job}/savepoints/{trigger}"))

    def dispose(self, path: str) -> str:
        """Begin to delete a savepoint; return the trigger to ask by."""
        answer = self._ask("POST", "/savepoint-disposal", {"savepoint-path": path})
        return str(answer["request-id"])

    def disposed(self, trigger: str) -> Outcome:
        """Return how far a deletion is."""
        return read_outcome(self._ask("GET", f"/savepoint-disposal/{trigger}"))

    def requirements(self, job: str) -> dict[str, Requirement]:
        """Return the parallelism that each vertex asks for; only the adaptive scheduler has it."""
        answer = self._ask("GET", f"/jobs/{job}/resource-requirements")
        return {
            vertex: Requirement(int(entry["parallelism"]["lowerBound"]),
                                int(entry["parallelism"]["upperBound"]))
            for vertex, entry in answer.items()
        }

    def require(self, job: str, wanted: Mapping[str, Requirement]) -> None:
        """Change the parallelism of a running job."""
        self._ask("PUT", f"/jobs/{job}/resource-requirements", {
            vertex: {"parallelism": {"lowerBound": need.lowest, "upperBound": need.highest}}
            for vertex, need in wanted.items()
        })

    def _metrics(self, path: str, key: str) -> dict[str, float]:
        found = {}
        for entry in self._ask("GET", path):
            try:
                value = float(entry[key])
            except (KeyError, ValueError):
                # Some are texts, and some are not there yet.
                continue
            if isfinite(value):
                found[str(entry["id"])] = value
        return found

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = self._client.request(method, f"{self._url}{path}", json=body)
        except httpx.HTTPError as error:
            message = f"Flink at {self._url} does not answer: {error}"
            raise FlinkAwayError(message, "Is it up? `sluice stack status` tells.") from error
        if not answer.is_success:
            raise _refusal(self._url, f"{method} {path}", answer)
        try:
            return answer.json() if answer.content else {}
        except ValueError as error:
            message = f"What answers at {self._url} is not Flink: {method} {path} gave no JSON."
            raise SluiceError(message, "Check SLUICE_FLINK_URL.") from error


def _quoted(names: Sequence[str]) -> str:
    return ",".join(quote(name, safe=".:_-") for name in names)


def _refusal(url: str, asked: str, answer: httpx.Response) -> SluiceError:
    text = answer.text
    kind: type[SluiceError] = {
        _NOT_FOUND: FlinkUnknownError, _CONFLICT: FlinkConflictError,
    }.get(answer.status_code, SluiceError)
    if answer.status_code in _AWAY or any(word in text for word in _AWAY_WORDS):
        kind = FlinkAwayError
    elif any(word in text for word in _UNKNOWN_WORDS):
        kind = FlinkUnknownError
    message = f"Flink at {url} refused {asked}: {_reason(answer)}"
    return kind(message, "`sluice stack logs jobmanager` tells more.")


def _reason(answer: httpx.Response) -> str:
    """Return the line that says why."""
    try:
        text = "\n".join(str(error) for error in answer.json()["errors"])
    except (ValueError, KeyError, TypeError):
        text = answer.text
    return (reason(text) or f"status {answer.status_code}")[:300]
