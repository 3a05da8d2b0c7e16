"""What the client makes of Flink's answers: values, errors for a person, and their kinds."""

import json
from typing import Any

import httpx
import pytest

from control.errors import SluiceError
from control.flink import FlinkAwayError, FlinkClient, FlinkConflictError, FlinkUnknownError
from control.flink_answers import Checkpoint, Outcome, read_checkpoints, read_outcome
from tests.kit.fake_flink_words import java_stack, python_stack

JOB = "a" * 32


def client_of(status: int, body: Any) -> FlinkClient:
    """Return a client of a Flink that always says the same."""
    text = body if isinstance(body, str) else json.dumps(body)
    return FlinkClient("http://flink:8081/", transport=httpx.MockTransport(
        lambda _: httpx.Response(status, text=text)
    ))


def errors(*stacks: str) -> dict[str, list[str]]:
    return {"errors": list(stacks)}


@pytest.mark.parametrize(("status", "kind"), [
    (404, FlinkUnknownError), (409, FlinkConflictError), (502, FlinkAwayError),
    (503, FlinkAwayError), (504, FlinkAwayError), (400, SluiceError), (500, SluiceError),
])
def test_a_status_has_a_kind_of_error(status: int, kind: type[SluiceError]) -> None:
    with pytest.raises(SluiceError) as error:
        client_of(status, errors("why")).details(JOB)
    assert type(error.value) is kind
    assert error.value.message == f"Flink at http://flink:8081 refused GET /jobs/{JOB}: why"
    assert error.value.hint


@pytest.mark.parametrize(("stack", "reason"), [
    ("a.B: it broke", "a.B: it broke"),
    (java_stack("a.B: outer", "c.D: middle", "e.F: inner"), "e.F: inner"),
    (java_stack("a.B: alone"), "a.B: alone"),
    ("\n\n  a.B: after blank lines\n\tat x.Y.z(Y.java:1)\n", "a.B: after blank lines"),
    ("", "status 500"),
])
def test_the_reason_is_the_last_cause(stack: str, reason: str) -> None:
    with pytest.raises(SluiceError) as error:
        client_of(500, errors(stack)).details(JOB)
    assert error.value.message.endswith(f"/jobs/{JOB}: {reason}")


def test_the_cause_of_an_error_inside_flink_is_found() -> None:
    stack = java_stack("java.util.concurrent.CompletionException: x.Y: why", "x.Y: why")
    wrapped = f"<Exception on server side:\n{stack}\nEnd of exception on server side>"
    with pytest.raises(SluiceError, match=r": x\.Y: why$"):
        client_of(500, errors("Internal server error.", wrapped)).details(JOB)


def test_an_error_inside_flink_without_a_cause_is_found() -> None:
    wrapped = f"<Exception on server side:\n{java_stack('x.Y: why')}End of exception ..."
    with pytest.raises(SluiceError, match=r": x\.Y: why$"):
        client_of(500, errors("Internal server error.", wrapped)).details(JOB)


def test_a_long_reason_is_cut() -> None:
    with pytest.raises(SluiceError) as error:
        client_of(500, errors("x" * 10_000)).details(JOB)
    assert len(error.value.message) < 400


@pytest.mark.parametrize("body", [
    "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>", "[]", "{}", '{"errors": 7}', "",
])
def test_what_is_not_flinks_own_refusal_has_its_status(body: str) -> None:
    with pytest.raises(FlinkAwayError) as error:
        client_of(502, body).jobs()
    assert "<" not in error.value.message
    if not body.startswith(("[", "{")):
        assert "status 502" in error.value.message


def test_a_page_where_an_answer_should_be_is_an_error_for_a_person() -> None:
    with pytest.raises(SluiceError):
        client_of(200, "<html>Please log in.</html>").jobs()


@pytest.mark.parametrize("error", [
    httpx.ConnectError("Connection refused"), httpx.ReadTimeout("too slow"),
    httpx.RemoteProtocolError("Server disconnected"),
])
def test_no_answer_is_flink_being_away(error: httpx.HTTPError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(FlinkAwayError, match=f"http://flink does not answer: {error}"):
        FlinkClient("http://flink", transport=httpx.MockTransport(fail)).jobs()


def _listed(job: str, state: str, running: int, total: int, started: int = 1) -> dict[str, Any]:
    return {"jid": job, "name": "ingest", "state": state, "start-time": started,
            "tasks": {"running": running, "total": total}}


def test_jobs_are_read_from_the_list() -> None:
    entries = [
        _listed(JOB, "RUNNING", 3, 3, started=7), _listed("b" * 32, "RUNNING", 2, 3, started=9),
        _listed("c" * 32, "INITIALIZING", 0, 0, started=8), _listed("d" * 32, "FINISHED", 0, 3),
    ]
    client = client_of(200, {"jobs": entries})
    assert [one.started for one in client.jobs()] == [9, 8, 7, 1]
    assert {one.id[0]: (one.all_run, one.is_over) for one in client.jobs()} == {
        "a": (True, False), "b": (False, False), "c": (False, False), "d": (False, True),
    }
    assert client.state(JOB) == "RUNNING"
    assert client.job("d" * 32) == client.jobs()[-1]
    assert client.live_job("ingest") == client.jobs()[0]
    assert client.state("e" * 32) is None
    assert client.live_job("search") is None


def test_that_a_job_is_unknown_is_no_answer_of_a_broken_flink() -> None:
    with pytest.raises(SluiceError):
        client_of(500, errors("x")).state(JOB)


def test_metrics_that_are_no_numbers_are_left_out() -> None:
    found = client_of(200, [
        {"id": "a", "value": "7"}, {"id": "b", "value": "text"}, {"id": "c"},
        {"id": "d", "value": "-1.5E3"}, {"id": "e", "value": ""},
    ]).job_metrics(JOB, ["a", "b", "c", "d", "e"])
    assert found == {"a": 7, "d": -1500}


def test_metrics_that_are_nan_are_left_out() -> None:
    found = client_of(200, [{"id": "a", "value": "NaN"}, {"id": "b", "value": "1"}])
    assert found.job_metrics(JOB, ["a", "b"]) == {"b": 1}


def test_metrics_over_subtasks_are_read_by_their_aggregate() -> None:
    answer = [{"id": "a", "min": 1.0, "sum": 5.0}, {"id": "b", "min": 2.0}]
    client = client_of(200, answer)
    assert client.vertex_metrics(JOB, JOB, ["a", "b"]) == {"a": 5}
    assert client.vertex_metrics(JOB, JOB, ["a", "b"], "min") == {"a": 1, "b": 2}
    assert client.metric_names(JOB, JOB) == ["a", "b"]


def test_backpressure_is_the_worst_subtasks() -> None:
    tasks = [{"subtask": 0, "ratio": 0.25}, {"subtask": 1, "ratio": 0.75}]
    assert client_of(200, {"status": "ok", "subtasks": tasks}).backpressure(JOB, JOB) == 0.75
    assert client_of(200, {"status": "deprecated"}).backpressure(JOB, JOB) is None


def history(*stacks: str) -> dict[str, Any]:
    return {"exceptionHistory": {"entries": [{"stacktrace": stack} for stack in stacks]}}


@pytest.mark.parametrize(("stacks", "line"), [
    ((), None),
    ((java_stack("a.B: new", "c.D: why"), java_stack("e.F: old")), "c.D: why"),
    ((java_stack("a.B: alone"),), "a.B: alone"),
    (("",), ""),
    # What was suppressed on the way is not the reason.
    (("a.B: x\nCaused by: c.D: why\n\tSuppressed: e.F: no\n\tCaused by: g.H: no",), "c.D: why"),
])
def test_the_last_exception_is_one_line(stacks: tuple[str, ...], line: str | None) -> None:
    assert client_of(200, history(*stacks)).last_exception(JOB) == line


def test_a_job_that_never_failed_has_no_exception() -> None:
    assert client_of(200, {}).last_exception(JOB) is None
    assert client_of(200, {}).last_failure_at(JOB) is None


def test_the_last_failure_is_the_newest_one() -> None:
    entries = [{"timestamp": 2_500, "stacktrace": ""}, {"timestamp": 1_000, "stacktrace": ""}]
    client = client_of(200, {"exceptionHistory": {"entries": entries}})
    assert client.last_failure_at(JOB) == 2.5


def test_the_error_of_a_python_function_is_found() -> None:
    stack = python_stack("ValueError: no such tenant")
    found = client_of(200, history(stack)).last_exception(JOB)
    assert "ValueError: no such tenant" in str(found)


def test_outcomes() -> None:
    assert read_outcome({"status": {"id": "IN_PROGRESS"}, "operation": None}) == Outcome(False)
    assert read_outcome({"status": {"id": "COMPLETED"}, "operation": {"location": "file:/a"}}) == (
        Outcome(True, "file:/a")
    )
    assert read_outcome({"status": {"id": "COMPLETED"}, "operation": {}}) == Outcome(True)
    stack = "a.B: why\n\tat x.Y.z"
    causes = (({"class": "a.B", "stack-trace": stack}, stack), ({"class": "a.B"}, "a.B"))
    for cause, failure in causes:
        answer = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": cause}}
        assert read_outcome(answer) == Outcome(True, None, failure)


def _entry(number: int, **more: Any) -> dict[str, Any]:
    return {
        "className": "completed", "id": number, "latest_ack_timestamp": 1_000 + number,
        "state_size": 10, "end_to_end_duration": 3, "external_path": f"file:/{number}",
        "discarded": False, "is_savepoint": False, **more,
    }


def test_checkpoints() -> None:
    found = read_checkpoints({
        "counts": {"completed": 4, "failed": 2, "in_progress": 1, "restored": 1, "total": 7},
        "latest": {
            "completed": _entry(5), "savepoint": _entry(6, is_savepoint=True),
            "failed": {"failure_message": "too slow"}, "restored": {"external_path": "file:/0"},
        },
    })
    assert (found.completed, found.failed, found.running) == (4, 2, 1)
    assert found.last == Checkpoint(5, "file:/5", 1_005, 10, 3, is_savepoint=False)
    assert found.newest == found.last_savepoint
    assert (found.last_failure, found.restored_path) == ("too slow", "file:/0")


def test_a_job_without_checkpoints_has_none() -> None:
    found = read_checkpoints({"counts": {"completed": 0}, "latest": {
        "completed": None, "savepoint": None, "failed": None, "restored": None,
    }})
    assert (found.newest, found.last_failure, found.restored_path) == (None, None, None)
    assert read_checkpoints({}).completed == 0


def test_a_checkpoint_that_is_deleted_is_none() -> None:
    found = read_checkpoints({"latest": {
        "completed": _entry(5, discarded=True), "savepoint": _entry(2, is_savepoint=True),
    }})
    assert found.last is None
    assert found.newest == found.last_savepoint


def test_a_checkpoint_that_lies_nowhere_has_no_path() -> None:
    found = read_checkpoints({"latest": {"completed": _entry(5, external_path=None)}})
    assert found.last is None or found.last.path == ""


def test_what_is_asked() -> None:
    asked: list[tuple[str, str, Any]] = []

    def note(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        asked.append((request.method, request.url.raw_path.decode(), body))
        return httpx.Response(202, json={"request-id": "1" * 32})

    with FlinkClient("http://flink", transport=httpx.MockTransport(note)) as client:
        client.cancel(JOB)
        client.savepoint(JOB, "1" * 32)
        client.savepoint(JOB, "1" * 32, "file:/a")
        client.stop(JOB, "1" * 32)
        client.stop(JOB, "1" * 32, drain=True, folder="file:/a")
        client.stop(JOB, "1" * 32, native=True)
        assert client.dispose("file:/a") == "1" * 32
    trigger = {"triggerId": "1" * 32}
    assert asked == [
        ("PATCH", f"/jobs/{JOB}?mode=cancel", None),
        ("POST", f"/jobs/{JOB}/savepoints", trigger),
        # The two name the folder differently, and refuse the other's name.
        ("POST", f"/jobs/{JOB}/savepoints", {**trigger, "target-directory": "file:/a"}),
        ("POST", f"/jobs/{JOB}/stop", {**trigger, "drain": False, "formatType": "CANONICAL"}),
        ("POST", f"/jobs/{JOB}/stop",
         {**trigger, "drain": True, "formatType": "CANONICAL", "targetDirectory": "file:/a"}),
        ("POST", f"/jobs/{JOB}/stop", {**trigger, "drain": False, "formatType": "NATIVE"}),
        ("POST", "/savepoint-disposal", {"savepoint-path": "file:/a"}),
    ]
