"""Starts TimescaleDB's socket gateway for the tests of it."""

import atexit
import functools
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.kit.wait import wait_until

SOURCES = Path(__file__).parents[2] / "control" / "stack" / "timescale_wasm"
Log = list[dict[str, Any]]
Connection = psycopg.Connection[tuple[Any, ...]]


@functools.cache
def installed() -> Path:
    """Copy the gateway and install its one package, once per test run."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-gateway-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for source in SOURCES.iterdir():
        if source.suffix in {".mjs", ".json"}:
            shutil.copy(source, folder)
    npm = shutil.which("npm")
    assert npm is not None, "npm must be installed: the gateway runs on Node"
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def free_port() -> int:
    """Return a port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Gateway:
    """A running gateway."""

    process: subprocess.Popen[bytes]
    port: int
    data: Path
    log_file: Path

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=sluice dbname=sluice"

    def connect(self, more: str = "", **options: Any) -> Connection:
        """Open a connection; options are psycopg's."""
        return psycopg.connect(f"{self.dsn} {more}", **options)

    def log(self) -> Log:
        """Read what was logged: one JSON object a line."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def logged(self, text: str) -> bool:
        """Tell whether a message with this text is in the log."""
        return any(text in entry["message"] for entry in self.log())

    def memory_mib(self) -> float:
        """Return the resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(10)


def launch(data: Path, *options: str, port: int | None = None) -> Gateway:
    """Start the command and do not wait for it."""
    port = port or free_port()
    log_file = data.with_name(f"{data.name}-{port}.log")
    command = ["node", str(installed() / "gateway.mjs"), "--data", str(data), "--port", str(port)]
    with log_file.open("ab") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=subprocess.PIPE)
    atexit.register(process.kill)  # after a failed test; for one that has ended it does nothing
    return Gateway(process, port, data, log_file)


def start_gateway(data: Path, *options: str, port: int | None = None) -> Gateway:
    """Start a gateway and wait until it lets clients in."""
    gateway = launch(data, *options, port=port)

    def answers() -> bool:
        assert gateway.process.poll() is None, gateway.log_file.read_text()
        try:
            gateway.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    wait_until("the gateway lets clients in", answers, 60, pause=0.05)
    return gateway


@functools.cache
def _template() -> Path:
    folder = installed() / "template"
    assert start_gateway(folder).stop() == 0
    return folder


def fresh_data(folder: Path) -> Path:
    """Copy a data directory with nothing in it: setting one up takes seconds."""
    return Path(shutil.copytree(_template(), folder))


@contextmanager
def with_table(gateway: Gateway) -> Iterator[Connection]:
    """Yield a connection to a database with an empty table `t`."""
    with gateway.connect(autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS t CASCADE")
        connection.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
        yield connection


def count(connection: Connection, table: str = "t") -> int:
    """Count the rows of a table."""
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
    return int((row.fetchone() or (0,))[0])


def one(connection: Connection, query: str, *values: Any, binary: bool = False) -> Any:
    """Return the one value that a query answers."""
    row = connection.execute(query, values or None, binary=binary).fetchone()
    return row and row[0]


def frame(kind: bytes, body: bytes) -> bytes:
    """Build a message of the wire protocol."""
    return kind + struct.pack("!i", len(body) + 4) + body


def raw_client(gateway: Gateway) -> socket.socket:
    """Open a session by hand and read up to ReadyForQuery."""
    client = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    body = struct.pack("!i", 196608) + b"user\0sluice\0database\0sluice\0\0"
    client.sendall(struct.pack("!i", len(body) + 4) + body)
    read_messages(client, until=b"Z")
    return client


def read_messages(client: socket.socket, until: bytes) -> list[tuple[bytes, bytes]]:
    """Read messages up to and including the first of a type."""
    found: list[tuple[bytes, bytes]] = []

    def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = client.recv(count - len(data))
            assert part, f"the connection ended after {found[-3:]}"
            data += part
        return data

    while not found or found[-1][0] != until:
        head = read(5)
        found.append((head[:1], read(struct.unpack("!i", head[1:])[0] - 4)))
    return found
