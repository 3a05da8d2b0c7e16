"""Submit a test's job to a stack's Flink and ask for its state."""

from typing import Any

import httpx

from control.flink_command import run_client
from control.settings import PROJECT_ROOT
from control.stack.context import open_stack
from tests.kit.stack import TestStack
from tests.kit.wait import wait_until


def connector_jar(stack: TestStack) -> str:
    """Return the address of Flink's Kafka connector."""
    context = open_stack(stack.settings()).context
    return context.cache.jars(context.artifacts["flink-connectors"])[0].as_uri()


def submit(stack: TestStack, module: str, *arguments: str) -> str:
    """Submit a module of tests/jobs with Flink's own client; return the job's id."""
    program = ["-py", str(PROJECT_ROOT / "tests" / "jobs" / f"{module}.py"), *arguments]
    return run_client(stack.settings(), module, program)


def get(stack: TestStack, path: str) -> dict[str, Any]:
    """Ask Flink; an empty answer while it is away."""
    try:
        answer = httpx.get(f"{stack.settings().flink_url}{path}", timeout=5)
        return dict(answer.json()) if answer.is_success else {}
    except httpx.HTTPError:
        return {}


def is_running(stack: TestStack, job: str) -> bool:
    """Tell whether every task of a job runs."""
    state = get(stack, f"/jobs/{job}")
    return state.get("state") == "RUNNING" and all(
        vertex["status"] == "RUNNING" for vertex in state["vertices"]
    )


def completed_checkpoints(stack: TestStack, job: str) -> int:
    """Return how many checkpoints this JobManager has completed for a job."""
    return int(get(stack, f"/jobs/{job}/checkpoints").get("counts", {}).get("completed", 0))


def cancel(stack: TestStack, job: str) -> None:
    """Cancel a job and wait until it is gone."""
    httpx.patch(f"{stack.settings().flink_url}/jobs/{job}", params={"mode": "cancel"}, timeout=10)
    wait_until("cancelled", lambda: get(stack, f"/jobs/{job}").get("state") == "CANCELED")


def stop_with_savepoint(stack: TestStack, job: str) -> str:
    """Stop a job with a savepoint; return its address."""
    url = f"{stack.settings().flink_url}/jobs/{job}"
    trigger = httpx.post(f"{url}/stop", json={"drain": False}, timeout=30).json()["request-id"]

    def finished() -> dict[str, Any] | None:
        answer = get(stack, f"/jobs/{job}/savepoints/{trigger}")
        return answer if answer.get("status", {}).get("id") == "COMPLETED" else None

    operation = wait_until("a savepoint", finished, 120)["operation"]
    assert "location" in operation, operation
    return str(operation["location"])


def metric(stack: TestStack, job: str, name: str) -> list[float]:
    """Return a metric's value in each subtask that has it; the name is the end of its full one."""
    values = []
    for vertex in get(stack, f"/jobs/{job}").get("vertices", []):
        path = f"/jobs/{job}/vertices/{vertex['id']}/metrics"
        known = _get_list(stack, path)
        wanted = [entry["id"] for entry in known if entry["id"].endswith(name)]
        if wanted:
            found = _get_list(stack, f"{path}?get={','.join(wanted)}")
            values += [float(entry["value"]) for entry in found]
    return values


def _get_list(stack: TestStack, path: str) -> list[dict[str, str]]:
    try:
        answer = httpx.get(f"{stack.settings().flink_url}{path}", timeout=5)
        return list(answer.json()) if answer.is_success else []
    except httpx.HTTPError:
        return []


def job_metric(stack: TestStack, job: str, name: str) -> str | None:
    """Return a metric of the job as a whole, once Flink has it."""
    found = _get_list(stack, f"/jobs/{job}/metrics?get={name}")
    return found[0]["value"] if found else None
