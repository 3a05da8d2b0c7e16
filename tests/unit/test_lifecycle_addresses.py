"""One place has many addresses: they are compared as Flink writes them."""

import pytest

from control.lifecycle.addresses import job_in, normal

JOB = "0123456789abcdef" * 2


@pytest.mark.parametrize(("given", "written"), [
    ("file:/a/b", "file:/a/b"),
    ("file:///a/b", "file:/a/b"),
    ("file:/a//b/", "file:/a/b"),
    ("file:/a/b/_metadata", "file:/a/b"),
    ("/a/b/", "file:/a/b"),
    ("/a/b:c/_metadata", "file:/a/b:c"),
    ("a/b", "a/b"),
    ("s3://bucket/a//b/", "s3://bucket/a/b"),
    ("s3://bucket/a/b/_metadata", "s3://bucket/a/b"),
    ("s3://bucket", "s3://bucket"),
    ("hdfs:///a/b", "hdfs:/a/b"),
])
def test_addresses(given: str, written: str) -> None:
    assert normal(given) == written
    assert normal(written) == written


@pytest.mark.parametrize(("address", "job"), [
    (f"file:/c/{JOB}/chk-17", JOB),
    (f"file:///c/{JOB}/chk-17/_metadata", JOB),
    (f"s3://bucket/c/{JOB}/chk-17/", JOB),
    (f"file:/c/{JOB}/shared", None),
    ("file:/c/short/chk-17", None),
    ("file:/s/counting/savepoint-012345-0123456789ab/", JOB[:6]),
    ("file:/s/savepoint-by-hand", None),
])
def test_state_tells_its_job(address: str, job: str | None) -> None:
    assert job_in(address) == job
