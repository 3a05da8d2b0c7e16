"""Flink by its REST API: what the control plane asks of it."""

from dataclasses import dataclass
from typing import Any

import httpx

from control.errors import SluiceError

_TIMEOUT_SECONDS = 10
# A job in one of these states will never run again by itself.
_ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})


@dataclass(frozen=True)
class FlinkJob:
    """A job as Flink lists it."""

    id: str
    name: str
    state: str
    # Milliseconds since 1970.
    started: int

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in _ENDED


class FlinkClient:
    """A thin client; every refusal becomes an error for a person."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS)

    def __enter__(self) -> "FlinkClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def jobs(self) -> list[FlinkJob]:
        """Return all jobs that Flink remembers, the newest first."""
        entries = self._ask("GET", "/jobs/overview")["jobs"]
        found = [
            FlinkJob(entry["jid"], entry["name"], entry["state"], int(entry["start-time"]))
            for entry in entries
        ]
        return sorted(found, key=lambda job: -job.started)

    def live_job(self, name: str) -> FlinkJob | None:
        """Return the job of this name that has not ended."""
        return next((job for job in self.jobs() if job.name == name and not job.is_over), None)

    def details(self, job: str) -> dict[str, Any]:
        """Return a job's state and its operators."""
        return dict(self._ask("GET", f"/jobs/{job}"))

    def last_exception(self, job: str) -> str | None:
        """Return the line that says why a job last failed."""
        history = self._ask("GET", f"/jobs/{job}/exceptions").get("exceptionHistory", {})
        for entry in history.get("entries", []):
            lines = str(entry.get("stacktrace", "")).strip().splitlines()
            causes = [line for line in lines if line.startswith("Caused by: ")]
            return (causes[-1].removeprefix("Caused by: ") if causes else lines[0]) if lines else ""
        return None

    def cancel(self, job: str) -> None:
        """Tell Flink to end a job at once, without a savepoint."""
        self._ask("PATCH", f"/jobs/{job}?mode=cancel")

    def _ask(self, method: str, path: str) -> Any:
        try:
            answer = self._client.request(method, f"{self._url}{path}")
        except httpx.HTTPError as error:
            message = f"Flink at {self._url} does not answer: {error}"
            raise SluiceError(message, "Is it up? `sluice stack status` tells.") from error
        if not answer.is_success:
            message = f"Flink at {self._url} refused {method} {path}: {answer.text[:300]}"
            raise SluiceError(message, "`sluice stack logs jobmanager` tells more.")
        return answer.json() if answer.content else {}
