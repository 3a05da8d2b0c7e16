"""What the fake does when it is told to, and polled about: savepoints, stops, deletions."""

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.kit import fake_flink_words as words
from tests.kit.fake_clock import FakeClock
from tests.kit.fake_flink_checkpoints import FakeCheckpoints, Snapshot, normal
from tests.kit.fake_flink_cluster import FakeCluster
from tests.kit.fake_flink_job import FakeJob


@dataclass
class Operation:
    """Something that was triggered."""

    trigger: str
    folder: str
    stops: bool = False
    drain: bool = False
    # What the poll answers once it is over.
    answer: dict[str, Any] | None = None
    ended: float = 0.0


@dataclass(frozen=True)
class SavepointFault:
    """What goes wrong with a savepoint or a stop."""

    # An exception as Java prints it, "class: message"; empty: the savepoint is good.
    cause: str = ""
    # The savepoint is there, and then the job dies while it stops.
    dies: bool = False
    # Whether Flink brings that job back, as its restart strategy usually does.
    comes_back: bool = False
    # It never ends.
    hangs: bool = False


class FakeOperations(FakeCluster):
    """A cluster that takes savepoints."""

    def __init__(self, clock: FakeClock | None = None, slots: int = 9) -> None:
        super().__init__(clock, slots)
        self.savepoint_folder = "file:///savepoints"
        # Where no folder can be made.
        self.unwritable = {"file:/unwritable"}
        self.operations: dict[tuple[str, str], Operation] = {}
        self.disposals: dict[str, Operation] = {}
        self._savepoint_faults: deque[SavepointFault] = deque()

    def break_savepoints(
        self, cause: str = f"{words.CHECKPOINT}: Checkpoint expired before completing.",
        times: int = 1,
    ) -> None:
        """Let the next savepoints and stops fail of a cause; the job runs on."""
        self._savepoint_faults.extend([SavepointFault(cause)] * times)

    def die_after_savepoint(self, *, comes_back: bool = False) -> None:
        """Let the next stop make its savepoint, and the job fail then: FAILED, or restarted."""
        self._savepoint_faults.append(SavepointFault(dies=True, comes_back=comes_back))

    def hang_savepoint(self) -> None:
        """Let the next savepoint or stop never end."""
        self._savepoint_faults.append(SavepointFault(hangs=True))

    def restart_jobmanager(self, away: float = 2.0, electing: float = 1.0) -> None:
        """Kill the JobManager: what was triggered is forgotten with it."""
        self.operations.clear()
        self.disposals.clear()
        super().restart_jobmanager(away, electing)

    def trigger(self, job_id: str, wanted: Operation) -> None:
        """Begin a savepoint or a stop; a trigger that is known begins nothing."""
        self._forget_old()
        key = job_id, wanted.trigger
        if key in self.operations:
            return
        self.operations[key] = operation = replace(wanted)
        job = self.jobs.get(job_id)
        causes = self._cannot_begin(job_id, job, operation)
        if causes or job is None:
            self._end_operation(operation, failure=causes)
            return
        fault = self._savepoint_faults.popleft() if self._savepoint_faults else SavepointFault()
        run, begun, checkpoints = job.run, self.clock.now(), job.checkpoints
        job.is_stopping = job.is_stopping or operation.stops
        checkpoints.in_progress += 1
        uids = job.uids

        def complete() -> None:
            checkpoints.in_progress -= 1
            if job.run != run or self.jobs.get(job_id) is not job:
                self._interrupted(operation, job)
            elif fault.cause:
                job.is_stopping = job.is_stopping and not operation.stops
                checkpoints.fail(begun, self.clock.now(), fault.cause.partition(": ")[2],
                                 is_savepoint=True)
                self._end_operation(operation, failure=[fault.cause])
            else:
                snapshot = self._write(job, operation, begun, uids, checkpoints)
                if operation.stops:
                    self._plan_stop(job, operation, snapshot, fault)
                else:
                    self._end_operation(operation, path=snapshot.path)

        def hang() -> None:
            if job.run != run:
                complete()
            else:
                self.clock.later(1.0, hang)

        self.clock.later(self.timing.savepoint, hang if fault.hangs else complete)

    def dispose(self, trigger: str, path: str) -> None:
        """Begin to delete a savepoint."""
        self.disposals[trigger] = operation = Operation(trigger, path)

        def delete() -> None:
            known = normal(path)
            if self.files.pop(known, None) is None:
                self._end_operation(operation, failure=[
                    f"org.apache.flink.util.FlinkException: Could not dispose savepoint {path}.",
                    words.no_file_words(path),
                ])
            else:
                self._end_operation(operation)

        self.clock.later(self.timing.dispose, delete)

    def poll(self, job_id: str, trigger: str) -> dict[str, Any]:
        """Return how far a savepoint or a stop is."""
        self._forget_old()
        operation = self.operations.get((job_id, trigger))
        if operation is None:
            raise words.no_trigger(trigger, job_id)
        return _answer(operation)

    def poll_disposal(self, trigger: str) -> dict[str, Any]:
        """Return how far a deletion is."""
        self._forget_old()
        if trigger not in self.disposals:
            raise words.no_disposal(trigger)
        return _answer(self.disposals[trigger])

    def _cannot_begin(
        self, job_id: str, job: FakeJob | None, operation: Operation
    ) -> list[str]:
        if job is None or job.is_over:
            return [words.no_job_words(job_id)]
        if job.state == "INITIALIZING":
            return [words.not_ready_words()]
        if not job.runs:
            task = f"{job.vertices[0].name} (1/{job.parallelism})"
            return [words.not_executed_words(task, job_id)]
        folder = normal(operation.folder)
        if any(folder == one or folder.startswith(f"{one}/") for one in self.unwritable):
            return [
                f"{words.CHECKPOINT}: An Exception occurred while triggering the checkpoint."
                " IO-problem detected.",
                f"java.io.IOException: Failed to create savepoint directory at {operation.folder}",
            ]
        return []

    def _interrupted(self, operation: Operation, job: FakeJob) -> None:
        why = "CheckpointCoordinator shutdown." if job.is_over else "Task has failed."
        self._end_operation(operation, failure=[f"{words.CHECKPOINT}: {why}"])

    def _write(
        self, job: FakeJob, operation: Operation, begun: float, uids: frozenset[str],
        checkpoints: FakeCheckpoints,
    ) -> Snapshot:
        number = checkpoints.take_number()
        mark = hashlib.md5(operation.trigger.encode(), usedforsecurity=False).hexdigest()[:12]
        path = f"{normal(operation.folder)}/savepoint-{job.id[:6]}-{mark}"
        while path in self.files:
            path += "x"
        snapshot = Snapshot(path, job.id, number, begun, is_savepoint=True, uids=uids)
        self.files[path] = snapshot
        checkpoints.complete(snapshot, self.clock.now(), ends_job=operation.stops)
        return snapshot

    def _plan_stop(
        self, job: FakeJob, operation: Operation, snapshot: Snapshot, fault: SavepointFault
    ) -> None:
        run = job.run

        def stop() -> None:
            if job.run != run or self.jobs.get(job.id) is not job:
                self._interrupted(operation, job)
            elif fault.dies:
                why = words.stopping_words(snapshot.path, job.id)
                self._fail(job, words.java_stack(why), restarts=fault.comes_back)
                self._end_operation(operation, failure=[why])
            else:
                self._end(job, "FINISHED")
                self._end_operation(operation, path=snapshot.path)

        self.clock.later(self.timing.stop, stop)

    def _end_operation(
        self, operation: Operation, path: str | None = None, failure: list[str] | None = None
    ) -> None:
        operation.ended = self.clock.now()
        operation.answer = (
            {"failure-cause": words.failure_cause(*failure)} if failure
            else {} if path is None else {"location": path}
        )

    def _forget_old(self) -> None:
        kept = self.clock.now() - self.timing.remember
        known: tuple[dict[Any, Operation], ...] = (self.operations, self.disposals)
        for some in known:
            for key in [key for key, one in some.items()
                        if one.answer is not None and one.ended <= kept]:
                del some[key]


def _answer(operation: Operation) -> dict[str, Any]:
    state = "IN_PROGRESS" if operation.answer is None else "COMPLETED"
    return {"status": {"id": state}, "operation": operation.answer}


def read_operation(body: Mapping[str, Any], trigger: str, folder: str) -> Operation:
    """Return what the body of a request asks for; a stop has other names than a savepoint."""
    target = body.get("target-directory") or body.get("targetDirectory") or folder
    return Operation(trigger, str(target), drain=bool(body.get("drain")))
