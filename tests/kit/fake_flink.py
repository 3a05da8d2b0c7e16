"""A stand-in for Flink 2.2 behind its REST API, in memory, with a clock of the test's own.

What it answers and when follows Flink's own classes: `FlinkClient("http://flink", transport=fake)`.
The contract in tests/lifecycle/contract.py holds for it and for a real cluster.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx

from tests.kit import fake_flink_words as words
from tests.kit.fake_clock import FakeClock
from tests.kit.fake_flink_job import FakeJob
from tests.kit.fake_flink_metrics import show_backpressure, show_job_metrics, show_vertex_metrics
from tests.kit.fake_flink_operations import FakeOperations, read_operation
from tests.kit.fake_flink_requirements import read_requirements, show_requirements

_ID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_SAVEPOINT_FIELDS = {"target-directory", "cancel-job", "formatType", "triggerId"}
_STOP_FIELDS = {"targetDirectory", "drain", "formatType", "triggerId"}


@dataclass(frozen=True)
class Request:
    """A request that came in."""

    method: str
    # With its query.
    path: str
    body: Any


@dataclass
class _Fault:
    times: int
    method: str
    path: re.Pattern[str]
    # What is answered instead, a status and a text; none: the connection breaks.
    answer: tuple[int, str] | None = None
    # Whether the request takes effect all the same.
    takes_effect: bool = False


class FakeFlink(FakeOperations, httpx.BaseTransport):
    """Flink, as far as the control plane asks for it."""

    def __init__(self, clock: FakeClock | None = None, slots: int = 9) -> None:
        super().__init__(clock, slots)
        self.requests: list[Request] = []
        self.settings = {"rest.port": "8081", "high-availability.type": "zookeeper"}
        self._faults: list[_Fault] = []
        self._shown: dict[str, tuple[float, dict[str, Any]]] = {}
        self._shown_checkpoints: dict[str, tuple[float, dict[str, Any] | words.Refusal]] = {}
        self._triggers = 0

    @property
    def changes(self) -> list[Request]:
        """The requests that were meant to change something."""
        return [one for one in self.requests if one.method != "GET"]

    def refuse_connections(self, times: int = 1, *, method: str = "", path: str = "") -> None:
        """Let the next matching requests find nobody; the path is a regular expression."""
        self._faults.append(_Fault(times, method, re.compile(path)))

    def lose_answers(self, times: int = 1, *, method: str = "", path: str = "") -> None:
        """Let the next matching requests take effect, and their answers be lost."""
        self._faults.append(_Fault(times, method, re.compile(path), takes_effect=True))

    def answer_with(
        self, status: int, text: str, times: int = 1, *, method: str = "", path: str = ""
    ) -> None:
        """Let the next matching requests get this answer, and do nothing."""
        self._faults.append(_Fault(times, method, re.compile(path), (status, text)))

    def restart_jobmanager(self, away: float = 2.0, electing: float = 1.0) -> None:
        """Kill the JobManager, and all that it has kept for its answers."""
        self._shown.clear()
        self._shown_checkpoints.clear()
        super().restart_jobmanager(away, electing)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        request.read()
        path = request.url.raw_path.decode()
        body = json.loads(request.content) if request.content else None
        self.requests.append(Request(request.method, path, body))
        fault = self._fault(request.method, path)
        if self.clock.now() < self._refused_until or (
            fault is not None and fault.answer is None and not fault.takes_effect
        ):
            message = "[Errno 111] Connection refused"
            raise httpx.ConnectError(message, request=request)
        if fault is not None and fault.answer is not None:
            return httpx.Response(fault.answer[0], text=fault.answer[1])
        try:
            status, content = self._answer(request, body or {})
        except words.Refusal as error:
            status, content = error.status, {"errors": error.errors}
        if fault is not None:
            message = "the connection broke before the answer"
            raise httpx.ReadError(message, request=request)
        return httpx.Response(status, json=content)

    def _fault(self, method: str, path: str) -> _Fault | None:
        for fault in self._faults:
            if fault.times > 0 and fault.method in {"", method} and fault.path.search(path):
                fault.times -= 1
                return fault
        return None

    def _answer(self, request: httpx.Request, body: Any) -> tuple[int, Any]:
        if self.clock.now() < self._elected_at:
            raise words.Refusal(503, "Service temporarily unavailable due to an ongoing leader"
                                     " election. Please refresh.")
        parts = request.url.path.strip("/").split("/")
        match request.method, *parts:
            case "GET", "overview":
                return 200, self._overview()
            case "GET", "jobmanager", "config":
                known = {**self.settings, **({"jobmanager.scheduler": "adaptive"}
                                             if self.adaptive else {})}
                return 200, [{"key": key, "value": value} for key, value in known.items()]
            case "GET", "jobs", "overview":
                now = self.clock.now()
                return 200, {"jobs": [job.entry(now) for job in self.jobs.values()]}
            case "POST", "savepoint-disposal":
                return self._dispose(body)
            case "GET", "savepoint-disposal", trigger:
                return 200, self.poll_disposal(_id("triggerid", trigger))
            case method, "jobs", job, *rest:
                return self._of_job(method, _id("jobid", job), rest, request.url.params, body)
        raise words.Refusal(404, f"Not found: {request.url.raw_path.decode()}")

    def _of_job(  # noqa: PLR0911 - one for each address
        self, method: str, job: str, rest: list[str], query: httpx.QueryParams, body: Any
    ) -> tuple[int, Any]:
        match method, *rest:
            case "GET", ("config" | "exceptions") as what:
                return 200, self._graph(job)[what]
            case "GET",:
                return 200, self._graph(job)["details"]
            case "GET", "status":
                return 200, {"status": self._known(job).state}
            case "PATCH",:
                return self._cancel(job)
            case "GET", "checkpoints":
                return 200, self._checkpoints(job)
            case "POST", ("savepoints" | "stop") as what:
                return self._trigger(job, body, stops=what == "stop")
            case "GET", "savepoints", trigger:
                return 200, self.poll(job, _id("triggerid", trigger))
            case "GET", "metrics":
                return 200, show_job_metrics(self.jobs.get(job), _names(query))
            case "GET", "vertices", vertex, "subtasks", "metrics":
                return 200, show_vertex_metrics(
                    self.jobs.get(job), _id("vertexid", vertex), _names(query),
                    _names(query, "agg"),
                )
            case "GET", "vertices", vertex, "backpressure":
                return 200, show_backpressure(
                    self.jobs.get(job), _id("vertexid", vertex), self.clock.now_ms()
                )
            case "GET", "resource-requirements":
                return 200, show_requirements(self._inner(job), adaptive=self.adaptive)
            case "PUT", "resource-requirements":
                wanted = read_requirements(self._inner(job), body, adaptive=self.adaptive)
                self.rescale(self.jobs[job], wanted)
                return 200, {}
        raise words.Refusal(404, f"Not found: /jobs/{job}/{'/'.join(rest)}")

    def _overview(self) -> dict[str, Any]:
        states = [job.state for job in self.jobs.values()]
        return {
            "taskmanagers": self.task_managers, "taskmanagers-blocked": 0,
            "slots-total": self.slots, "slots-available": self.free_slots,
            "slots-free-and-blocked": 0, "jobs-running": len(self.live()),
            "jobs-finished": states.count("FINISHED"), "jobs-cancelled": states.count("CANCELED"),
            "jobs-failed": states.count("FAILED"), "flink-version": "2.2.1",
            "flink-commit": "1a2b3c4",
        }

    def _known(self, job: str) -> FakeJob:
        """Return a job for a handler that does not expect that there is none."""
        if job not in self.jobs:
            raise words.broken(words.no_job_words(job))
        return self.jobs[job]

    def _inner(self, job: str) -> FakeJob:
        """Return a live job for such a handler."""
        found = self._known(job)
        if found.is_over:
            raise words.broken(words.no_job_words(job))
        if found.state == "INITIALIZING":
            raise words.broken(words.not_ready_words())
        return found

    def _graph(self, job: str) -> dict[str, Any]:
        """Return what is shown of a job: for a while the same as before, whatever happens."""
        until, shown = self._shown.get(job, (0.0, {}))
        if self.clock.now() >= until:
            found = self.jobs.get(job)
            if found is None:
                raise words.no_job(job)
            shown = {"details": found.details(self.clock.now()), "config": found.config(),
                     "exceptions": found.history()}
            self._shown[job] = self.clock.now() + self.timing.cache, shown
        return shown

    def _checkpoints(self, job: str) -> dict[str, Any]:
        """Return a job's checkpoints: a refusal is kept for a while, too."""
        until, shown = self._shown_checkpoints.get(job, (0.0, {}))
        if self.clock.now() >= until:
            found = self.jobs.get(job)
            shown = (words.no_job(job) if found is None
                     else words.broken(words.not_ready_words())
                     if found.state == "INITIALIZING" else found.checkpoints.body())
            self._shown_checkpoints[job] = self.clock.now() + self.timing.cache, shown
        if isinstance(shown, words.Refusal):
            raise shown
        return shown

    def _cancel(self, job: str) -> tuple[int, Any]:
        found = self.jobs.get(job)
        if found is None:
            raise words.refusal(404, "Job could not be found.", words.no_job_words(job))
        if found.state in {"FINISHED", "FAILED"}:
            raise words.refusal(
                409, "Job cancellation failed because the job has already reached another"
                     f" terminal state ({found.state}).",
            )
        if not found.is_over:
            self.cancel(found)
        return 202, {}

    def _trigger(self, job: str, body: dict[str, Any], *, stops: bool) -> tuple[int, Any]:
        unknown = set(body) - (_STOP_FIELDS if stops else _SAVEPOINT_FIELDS)
        trigger = str(body.get("triggerId") or self._new_trigger())
        if unknown or not _ID.fullmatch(trigger):
            kind = "StopWithSavepointRequestBody" if stops else "SavepointTriggerRequestBody"
            raise words.refusal(400, f"Request did not match expected format {kind}.")
        operation = read_operation(body, trigger.lower(), self.savepoint_folder)
        operation.stops = stops
        self.trigger(job, operation)
        return 202, {"request-id": trigger.lower()}

    def _dispose(self, body: dict[str, Any]) -> tuple[int, Any]:
        if not body.get("savepoint-path"):
            raise words.refusal(400, "Field savepoint-path must not be omitted or be null.")
        trigger = self._new_trigger()
        self.dispose(trigger, str(body["savepoint-path"]))
        return 200, {"request-id": trigger}

    def _new_trigger(self) -> str:
        self._triggers += 1
        return f"{self._triggers:032x}"


def _id(name: str, value: str) -> str:
    if not _ID.fullmatch(value):
        raise words.bad_path(name, value)
    return value.lower()


def _names(query: httpx.QueryParams, key: str = "get") -> list[str]:
    return [name for name in query.get(key, "").split(",") if name]
