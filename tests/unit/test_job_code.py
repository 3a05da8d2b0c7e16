"""Our code travels inside a job: everything that a worker needs can be pickled by value."""

import subprocess
import sys

# In a process of its own: to be pickled by value is a property of the whole interpreter.
SCRIPT = """
import importlib, pickle, cloudpickle
for name in ("jobs", "udfs"):
    cloudpickle.register_pickle_by_value(importlib.import_module(name))
from control.settings import PROJECT_ROOT
from jobs.cleaning import CleanEvents, CleaningPlan
from jobs.search import SearchPlan
from jobs.sink_basis import SinkBasis
from jobs.sinking import WriteEvents
from jobs.timescale import TimescalePlan
from udfs.cleaner import Tenant
from udfs.contract import load_contract
from udfs.ingestion import IngestRules, SchemaIds
from udfs.schema_store import RegistryAddress
from udfs.search_writer import SearchAddress
from udfs.timescale_writer import DatabaseAddress

contract = load_contract(PROJECT_ROOT / "schemas")
registry = RegistryAddress("http://127.0.0.1:1")
basis = SinkBasis(contract, 1, registry, "events.clean", 2**20, 60)
for function in (
    CleanEvents(CleaningPlan(contract, SchemaIds(1, 2), IngestRules(), registry, "raw", "tenants",
                             {"tenant-0001": Tenant("Name", None, "eu")})),
    WriteEvents(TimescalePlan(basis, DatabaseAddress("postgresql://127.0.0.1:1")).open_sink),
    WriteEvents(SearchPlan(basis, SearchAddress("http://127.0.0.1:1"), {}, 30).open_sink),
):
    pickle.loads(cloudpickle.dumps(function))
"""


def test_functions_of_jobs_travel() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True,
                          check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
