"""How Flink says no: stacks of Java, and the bodies that carry them."""

from typing import Any

NOT_FOUND_JOB = "org.apache.flink.runtime.messages.FlinkJobNotFoundException"
NOT_READY = "org.apache.flink.runtime.dispatcher.UnavailableDispatcherOperationException"
CHECKPOINT = "org.apache.flink.runtime.checkpoint.CheckpointException"
STOPPING = (
    "org.apache.flink.runtime.scheduler.stopwithsavepoint.StopWithSavepointStoppingException"
)
_COMPLETION = "java.util.concurrent.CompletionException"
_REST = "org.apache.flink.runtime.rest.handler.RestHandlerException"
_REST_NOT_FOUND = "org.apache.flink.runtime.rest.NotFoundException"
_FILE_NOT_FOUND = "java.io.FileNotFoundException"


class Refusal(Exception):  # noqa: N818 - an answer, not an error of the fake
    """An answer that is not a success."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(f"{status}: {errors}")
        self.status = status
        self.errors = list(errors)


def java_stack(*errors: str) -> str:
    """Return a stack as Java prints it; each error is caused by the one after it."""
    lines = [f"{errors[0]}\n\tat org.apache.flink.runtime.Some.method(Some.java:42)"]
    lines += [f"Caused by: {error}\n\tat org.apache.flink.runtime.Other.method(Other.java:24)"
              "\n\t... 3 more" for error in errors[1:]]
    return "\n".join(lines) + "\n"


def python_stack(error: str) -> str:
    """Return a stack of a Python function's error, as PyFlink hands it on."""
    harness = (
        "java.lang.RuntimeException: Error received from SDK harness for instruction 6: "
        "Traceback (most recent call last):\n"
        '  File "apache_beam/runners/worker/sdk_worker.py", line 313, in _execute\n'
        "    response = task()\n"
        '  File "udfs/events.py", line 7, in judge\n'
        "    return judge_one(event)\n"
        f"{error}\n"
    )
    return java_stack(
        "java.lang.Exception: Could not perform checkpoint 7 for operator Source (1/1)#0.",
        f"java.util.concurrent.ExecutionException: {harness}", harness,
    )


def refusal(status: int, *errors: str, kind: str = _REST) -> Refusal:
    """Return a refusal that a handler means: its message, and what caused it."""
    return Refusal(status, java_stack(f"{kind}: {errors[0]}", *errors[1:]))


def broken(*errors: str) -> Refusal:
    """Return what Flink answers to an exception that no handler expects."""
    stack = java_stack(f"{_COMPLETION}: {errors[0]}", *errors)
    return Refusal(
        500, "Internal server error.",
        f"<Exception on server side:\n{stack}\nEnd of exception on server side>",
    )


def no_job(job: str) -> Refusal:
    """Return the answer about a job that Flink does not know."""
    return refusal(404, f"Job {job} not found", no_job_words(job), kind=_REST_NOT_FOUND)


def no_job_words(job: str) -> str:
    """Return the exception about a job that Flink does not know."""
    return f"{NOT_FOUND_JOB}: Could not find Flink job ({job})"


def not_ready_words() -> str:
    """Return the exception about a job that is not initialized yet."""
    return (
        f"{NOT_READY}: Unable to get JobMasterGateway for initializing job. The requested"
        " operation is not available while the JobManager is initializing."
    )


def no_trigger(trigger: str, job: str) -> Refusal:
    """Return the answer about a savepoint that nobody has triggered, or long ago."""
    return refusal(404, f"There is no savepoint operation with triggerId={trigger} for job {job}.")


def no_disposal(trigger: str) -> Refusal:
    """Return the answer about a deletion that nobody has triggered, or long ago."""
    key = f"org.apache.flink.runtime.rest.handler.async.OperationKey@{trigger[:8]}"
    return refusal(404, f"Operation not found under key: {key}", kind=_REST_NOT_FOUND)


def bad_path(name: str, value: str) -> Refusal:
    """Return the answer to an id that is none."""
    why = f'Cannot resolve path parameter ({name}) from value "{value}".'
    return refusal(
        400, f"Bad request, could not parse parameters: {why}",
        f"org.apache.flink.runtime.rest.handler.HandlerRequestException: {why}",
    )


def no_file_words(path: str) -> str:
    """Return the exception about a savepoint that is not there."""
    return (f"{_FILE_NOT_FOUND}: Cannot find checkpoint or savepoint file/directory '{path}'"
            " on file system 'file'.")


def not_executed_words(task: str, job: str) -> str:
    """Return the exception about a savepoint of a job whose tasks do not all run."""
    return (
        f"{CHECKPOINT}: Checkpoint triggering task {task} of job {job} is not being executed at"
        " the moment. Aborting checkpoint. Failure reason: Not all required tasks are currently"
        " running."
    )


def stopping_words(path: str, job: str) -> str:
    """Return the exception about a job that fails after its last savepoint."""
    return (
        f"{STOPPING}: A savepoint has been created at: {path}, but the corresponding job {job}"
        " failed during stopping. The savepoint is consistent, but might have uncommitted"
        " transactions. If you want to commit the transaction please restart a job from this"
        " savepoint."
    )


def failure_cause(*errors: str) -> dict[str, Any]:
    """Return how the answer to a poll carries an exception."""
    return {
        "class": _COMPLETION,
        "stack-trace": java_stack(f"{_COMPLETION}: {errors[0]}", *errors),
        "serialized-throwable": "rO0ABXNyABNqYXZhLmxhbmcuVGhyb3dhYmxl",
    }
