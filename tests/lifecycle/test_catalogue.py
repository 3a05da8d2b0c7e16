"""What the catalogue says of the jobs' state is what Flink makes of them."""

import json

import pytest

from control.savepoint_metadata import operator_id
from jobs.catalogue import JOBS
from jobs.spec import JobSpec
from tests.kit.stack import TestStack


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_every_uid_is_in_the_graph(stack: TestStack, job: JobSpec) -> None:
    plan = json.loads(stack.ok("jobs", "plan", job.name, "--json"))
    assert plan["mode"] == job.mode
    found = {one["id"] for one in plan["operators"]}
    for part in job.state:
        assert operator_id(part.uid) in found, part.uid
    assert {one["max_parallelism"] for one in plan["operators"]} <= {job.max_parallelism, 1}
