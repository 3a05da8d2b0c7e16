"""The ids by which Flink finds the state of a built job's operators, where ours must differ."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from control.errors import SluiceError
from jobs.lane import Lane
from jobs.spec import TRANSACTIONS, JobSpec

# What Flink SQL gives: a number and a name.
_OF_SQL = re.compile(r"(\d+)_(.+)")


def settle_numbers(stream_graph: Any, job: JobSpec) -> None:
    """Give operators made from SQL the numbers of the job's description.

    Flink counts on for as long as its process lives: a job that a JobManager builds after another
    one gets other numbers, and would not find its state. Their order stays.
    """
    said = _numbers(part.uid for part in job.state)
    found = _numbers(uid for _, uid in _uids(stream_graph))
    new: dict[str, str] = {}
    for name, numbers in said.items():
        if len(found.get(name, [])) != len(numbers):
            message = (f"{job.name} was built with {len(found.get(name, []))} operators"
                       f" `{name}` made from SQL; its description names {len(numbers)}.")
            raise SluiceError(message, f"Mend `state` of {job.name} in jobs/catalogue.py.")
        new |= {f"{old}_{name}": f"{number}_{name}"
                for old, number in zip(found[name], numbers, strict=True)}
    for node, uid in _uids(stream_graph):
        own = _first_half(uid)
        if own in new:
            stream_graph.setTransformationUID(node.getId(), uid.removesuffix(own) + new[own])


def part_from_live(stream_graph: Any, job: JobSpec, lane: Lane) -> None:
    """Keep what writes transactions away from the live job's, which a copied state tells of.

    With their state a sink would abort the transactions that the live job has open just now.
    """
    open_transactions = {part.uid for part in job.state if part.form.startswith(TRANSACTIONS)}
    for node, uid in _uids(stream_graph):
        if _first_half(uid) in open_transactions:
            stream_graph.setTransformationUID(node.getId(), lane.own(uid))


def _uids(stream_graph: Any) -> Iterator[tuple[Any, str]]:
    for node in stream_graph.getStreamNodes().toArray():
        uid = node.getTransformationUID()
        if uid is not None:
            yield node, str(uid)


def _first_half(uid: str) -> str:
    """Return what the second half of a sink is named after: the first; any other uid as it is."""
    return uid.rpartition(": ")[2]


def _numbers(uids: Iterable[str]) -> dict[str, list[int]]:
    """Return the numbers that there are for each name, the smallest first."""
    found: dict[str, set[int]] = {}
    for uid in uids:
        parts = _OF_SQL.fullmatch(_first_half(uid))
        if parts:
            found.setdefault(parts[2], set()).add(int(parts[1]))
    return {name: sorted(numbers) for name, numbers in found.items()}
