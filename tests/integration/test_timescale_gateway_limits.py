"""TimescaleDB as WASM behind our gateway: what time limits, cancelling and killing do."""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.integration.timescale_gateway import (
    Connection,
    Gateway,
    count,
    fresh_data,
    launch,
    one,
    start_gateway,
)
from tests.kit.wait import wait_until

# A loop that only computes: it never looks at the clock, a file or a socket.
COMPUTES = "DO $$ BEGIN FOR i IN 1..2000000000 LOOP NULL; END LOOP; END $$"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set up one data directory, to be copied: setting up is the slow part."""
    folder = fresh_data(tmp_path_factory.mktemp("limits") / "made")
    gateway = start_gateway(folder)
    with gateway.connect() as connection:
        connection.execute("CREATE TABLE t (id serial PRIMARY KEY, name text)")
        connection.execute("CREATE TABLE m (time timestamptz NOT NULL, value int)")
        connection.execute("SELECT create_hypertable('m', by_range('time', INTERVAL '1 day'))")
    assert gateway.stop() == 0
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture(scope="module")
def short(made: Path) -> Iterator[Gateway]:
    """Start a gateway whose limits are over soon."""
    copy = Path(shutil.copytree(made, made.with_name("short")))
    started = start_gateway(copy, "--transaction-timeout", "1.5", "--queue-timeout", "0.6")
    yield started
    assert started.stop() == 0


def run(connection: Connection, statement: str, caught: list[BaseException]) -> threading.Thread:
    """Run a statement in a thread and keep its error."""

    def work() -> None:
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


class TestWaiting:
    def test_waiting_too_long_is_an_error_and_not_the_end(self, short: Gateway) -> None:
        with short.connect() as holder, short.connect(autocommit=True) as waiting:
            holder.execute("INSERT INTO t DEFAULT VALUES")
            for attempt in ("SELECT 1", "SELECT %s::int"):
                began = time.monotonic()
                with pytest.raises(errors.LockNotAvailable) as caught:
                    waiting.execute(attempt, (1,) if "%s" in attempt else None)
                assert 0.5 < time.monotonic() - began < 1.2
                assert "idle in a transaction" in str(caught.value)
                assert "client" in str(caught.value)
                assert "--queue-timeout" in (caught.value.diag.message_hint or "")
                holder.execute("SELECT 1")
            holder.rollback()
            row = waiting.execute("SELECT %s::int", (7,)).fetchone()
            assert row == (7,)

    def test_pipeline_that_waits_too_long(self, short: Gateway) -> None:
        with short.connect() as holder, short.connect(autocommit=True) as waiting:
            holder.execute("SELECT 1")
            with pytest.raises(errors.LockNotAvailable), waiting.pipeline():
                waiting.execute("SELECT 1")
                waiting.execute("SELECT 2")
            holder.rollback()
            assert count(waiting) >= 0

    def test_first_come_first_served(self, short: Gateway) -> None:
        def work(number: int) -> None:
            with short.connect(autocommit=True) as mine:
                mine.execute("INSERT INTO t (name) VALUES (%s)", (f"order {number}",))

        with short.connect() as holder:
            holder.execute("SELECT 1")
            threads = []
            for number in range(4):
                threads.append(threading.Thread(target=work, args=(number,)))
                threads[-1].start()
                time.sleep(0.08)
            holder.rollback()
            for thread in threads:
                thread.join(5)
            came = holder.execute("SELECT name FROM t WHERE name LIKE 'order%' ORDER BY id")
            assert came.fetchall() == [(f"order {number}",) for number in range(4)]

    @pytest.mark.parametrize("idle_in", ["a transaction", "a failed transaction", "COPY"])
    def test_idle_transaction_is_ended(self, short: Gateway, idle_in: str) -> None:
        with short.connect(autocommit=True) as other:
            before = count(other)
            idle = short.connect()
            idle.execute("INSERT INTO t DEFAULT VALUES")
            if idle_in == "COPY":
                idle.pgconn.exec_(b"COPY t FROM STDIN")
            elif idle_in == "a failed transaction":
                with pytest.raises(errors.UndefinedColumn):
                    idle.execute("SELECT nope")
            wait_until("the turn passes on", lambda: _try(lambda: count(other)) == before, 5)
            said = idle_in.replace("a failed", "a") if idle_in != "COPY" else "in COPY FROM STDIN"
            if idle_in == "COPY":
                idle.pgconn.put_copy_end()
                result = idle.pgconn.get_result()
                assert result is not None
                assert said in result.error_message.decode()
            else:
                with pytest.raises(errors.IdleInTransactionSessionTimeout, match=said):
                    idle.execute("SELECT 1")
            idle.close()

    def test_busy_transaction_is_not_ended(self, short: Gateway) -> None:
        with short.connect() as connection:
            connection.execute("SELECT pg_sleep(2)")  # longer than --transaction-timeout
            for _ in range(4):
                time.sleep(0.5)
                connection.execute("SELECT 1")


def _try(action: Any) -> Any:
    try:
        return action()
    except errors.LockNotAvailable:
        return None


class TestCancel:
    def test_a_waiting_statement(self, short: Gateway) -> None:
        with short.connect() as holder, short.connect(autocommit=True) as waiting:
            holder.execute("SELECT 1")
            caught: list[BaseException] = []
            thread = run(waiting, "SELECT 1", caught)
            time.sleep(0.1)
            waiting.cancel_safe()
            thread.join(5)
            assert isinstance(caught[0], errors.QueryCanceled)
            holder.rollback()
            assert count(waiting) >= 0

    def test_a_statement_that_touches_the_clock_or_files(self, short: Gateway) -> None:
        with short.connect() as connection:
            connection.execute("SAVEPOINT a")
            writes = "INSERT INTO t (name) SELECT generate_series(1, 9999999)"
            for statement in ("SELECT pg_sleep(30)", writes):
                caught: list[BaseException] = []
                thread = run(connection, statement, caught)
                time.sleep(0.3)
                connection.cancel_safe()
                thread.join(5)
                assert isinstance(caught[0], errors.QueryCanceled)
                connection.execute("ROLLBACK TO a")
            assert count(connection) >= 0  # a late cancel hits nothing else

    def test_too_late_hits_nothing_else(self, short: Gateway) -> None:
        # It computes, so the request is seen only when it has ended.
        computes = "SELECT count(*) FROM generate_series(1, 3000) a, generate_series(1, 3000) b"
        with short.connect() as connection:
            connection.execute("SAVEPOINT a")
            caught: list[BaseException] = []
            thread = run(connection, computes, caught)
            time.sleep(0.2)
            connection.cancel_safe()
            thread.join(10)
            connection.execute("ROLLBACK TO a")
            for _ in range(3):
                connection.execute("SELECT pg_sleep(0.01)")

    def test_a_copy_that_waits_for_data(self, short: Gateway) -> None:
        with short.connect(autocommit=True) as connection:
            with pytest.raises(errors.QueryCanceled), connection.cursor().copy("COPY t FROM STDIN"):
                time.sleep(0.1)
                connection.cancel_safe()
                time.sleep(0.1)
            assert count(connection) >= 0

    def test_a_statement_that_only_computes_costs_its_connection(self, short: Gateway) -> None:
        with short.connect(autocommit=True) as other, short.connect(autocommit=True) as temp:
            other.execute("SET work_mem = '7MB'")
            other.execute("SELECT %s::int", (1,), prepare=True)
            other.execute("LISTEN still")
            temp.execute("CREATE TEMP TABLE gone (a int)")
            before = count(other)
            doomed = short.connect()
            doomed.execute("INSERT INTO t DEFAULT VALUES")
            caught: list[BaseException] = []
            thread = run(doomed, COMPUTES, caught)
            time.sleep(0.2)
            doomed.cancel_safe()
            thread.join(10)
            assert isinstance(caught[0], errors.QueryCanceled)
            doomed.close()
            # The others go on as if nothing had been, except who had temporary tables.
            wait_until("the database is back", lambda: _try(lambda: count(other)) == before, 15)
            assert other.execute("SELECT %s::int", (5,), prepare=True).fetchone() == (5,)
            assert other.execute("SHOW work_mem").fetchone() == ("7MB",)
            other.execute("NOTIFY still")
            assert len(list(other.notifies(timeout=2, stop_after=1))) == 1
            with pytest.raises(psycopg.OperationalError, match="opened again"):
                temp.execute("SELECT 1")

    def test_strangers_cannot_cancel(self, short: Gateway) -> None:
        with short.connect() as connection:
            request = struct.pack("!iiii", 16, 80877102, connection.info.backend_pid, 1)
            caught: list[BaseException] = []
            thread = run(connection, "SELECT pg_sleep(0.5)", caught)
            with socket.create_connection(("127.0.0.1", short.port)) as stranger:
                stranger.sendall(request)
                assert stranger.recv(10) == b""
            thread.join(5)
            assert not caught


class TestRestart:
    def test_hypertable_has_its_rows_after_a_restart(self, data: Path) -> None:
        gateway = start_gateway(data)
        with gateway.connect() as connection:
            connection.execute("TRUNCATE m")
            connection.execute(
                "INSERT INTO m SELECT '2026-01-01'::timestamptz + i * interval '1 hour', i"
                " FROM generate_series(1, 240) i"
            )
        assert gateway.stop() == 0
        gateway = start_gateway(data)
        with gateway.connect() as connection:
            assert count(connection, "m") == 240
            assert one(connection, "SELECT count(*) FROM show_chunks('m')") > 5
        assert gateway.stop() == 0

    def test_kill_loses_nothing_committed(self, data: Path) -> None:
        expected = -1
        for round_ in range(3):
            gateway = start_gateway(data)
            connection = gateway.connect()
            if expected >= 0:
                assert count(connection) == expected
                assert gateway.logged("not stopped properly")
            for _ in range(30):
                connection.execute("INSERT INTO t (name) VALUES (repeat('x', 2000))")
                connection.commit()
            connection.execute(f"CREATE TABLE made_{round_}_{os.getpid()} (a int)")
            expected = count(connection)
            connection.commit()
            connection.execute("INSERT INTO t (name) SELECT 'lost' FROM generate_series(1, 1000)")
            assert gateway.stop(signal.SIGKILL) == -signal.SIGKILL
            connection.close()
        gateway = start_gateway(data)
        with gateway.connect() as connection:
            assert count(connection) == expected
            connection.execute("REINDEX TABLE t")
            connection.execute(f"DROP TABLE made_0_{os.getpid()}, made_1_{os.getpid()}")
        assert gateway.stop() == 0

    def test_kill_in_the_middle_of_setting_up(self, tmp_path: Path) -> None:
        unfinished = launch(tmp_path / "data")
        begun = tmp_path / "data" / "pgdata" / "PG_VERSION"
        wait_until("initdb begins", begun.exists, 15, pause=0.01)
        assert unfinished.stop(signal.SIGKILL) == -signal.SIGKILL
        gateway = start_gateway(tmp_path / "data")
        with gateway.connect() as connection:
            connection.execute("CREATE TABLE works (a int)")
        assert gateway.stop() == 0

    def test_stop_with_clients_and_a_running_statement(self, data: Path) -> None:
        gateway = start_gateway(data)
        with gateway.connect(autocommit=True) as connection:
            before = count(connection)
            caught: list[BaseException] = []
            thread = run(connection, "INSERT INTO t SELECT FROM pg_sleep(0.7)", caught)
            idle = gateway.connect()
            time.sleep(0.2)
            began = time.monotonic()
            assert gateway.stop() == 0
            assert time.monotonic() - began < 5
            thread.join(5)
            assert not caught, "a statement that can end in time does end"
            with pytest.raises(psycopg.errors.AdminShutdown):
                idle.execute("SELECT 1")
            idle.close()
        gateway = start_gateway(data)
        with gateway.connect() as connection:
            assert count(connection) == before + 1
        assert gateway.stop() == 0

    def test_stop_in_spite_of_an_endless_statement(self, data: Path) -> None:
        gateway = start_gateway(data)
        connection = gateway.connect()
        caught: list[BaseException] = []
        thread = run(connection, COMPUTES, caught)
        time.sleep(0.2)
        began = time.monotonic()
        assert gateway.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < 5
        thread.join(5)
        assert isinstance(caught[0], psycopg.OperationalError)
        connection.close()


class TestStart:
    def refused(self, gateway: Gateway) -> str:
        """Wait for the end of a gateway that must not start and return what it says."""
        assert gateway.process.wait(20) == 1
        assert gateway.process.stderr is not None
        lines = gateway.process.stderr.read().decode().splitlines()
        assert len(lines) == 1, lines
        assert gateway.log()[-1]["level"] == "error"
        return lines[0]

    def test_second_gateway_on_a_directory_is_refused(self, short: Gateway) -> None:
        said = self.refused(launch(short.data))
        assert f"in use by the gateway with pid {short.process.pid}" in said
        with short.connect() as connection:
            assert count(connection) >= 0

    def test_taken_port(self, tmp_path: Path, short: Gateway) -> None:
        said = self.refused(launch(tmp_path / "data", port=short.port))
        assert f"port {short.port} on 127.0.0.1 is already in use" in said
        assert not (tmp_path / "data" / "pgdata").exists()
        assert not (tmp_path / "data" / "gateway.lock").exists()

    @pytest.mark.parametrize("lock", ["", "{", "null", '{"pid": 999999999}', "own pid"])
    def test_stale_lock_does_not_hinder(self, tmp_path: Path, short: Gateway, lock: str) -> None:
        # The port is taken, so the start ends right after the lock: that is faster.
        (tmp_path / "data").mkdir()
        if lock == "own pid":  # a process of another start time has got the same pid
            lock = json.dumps({"pid": os.getpid(), "started": "1"})
        (tmp_path / "data" / "gateway.lock").write_text(lock)
        assert "already in use" in self.refused(launch(tmp_path / "data", port=short.port))

    def test_many_starts_at_once_leave_one(self, data: Path) -> None:
        stopped = start_gateway(data)
        stopped.stop(signal.SIGKILL)
        rivals = [launch(data) for _ in range(6)]

        def decided() -> bool:
            return sum(rival.process.poll() is None for rival in rivals) == 1

        try:
            wait_until("all but one are refused", decided, 20)
            (winner,) = [rival for rival in rivals if rival.process.poll() is None]
            wait_until("the one is ready", lambda: winner.logged("ready"), 20)
        finally:
            for rival in rivals:
                rival.stop()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--queue-timeout", "soon"], "--queue-timeout must be a number of seconds"),
            (["--port", "none"], "--port N is needed"),
            (["--colour", "red"], "--colour"),
        ],
    )
    def test_misuse(self, tmp_path: Path, options: list[str], message: str) -> None:
        assert message in self.refused(launch(tmp_path / "data", *options))

    def test_too_early_client_is_told(self, tmp_path: Path) -> None:
        gateway = launch(tmp_path / "data")
        said: list[str] = []

        def refused() -> bool:
            try:
                gateway.connect().close()
            except psycopg.OperationalError as error:
                said.append(str(error))
            return any("starting up" in text for text in said)

        wait_until("told that it is starting", refused, 15, pause=0.01)
        assert gateway.stop() == 0, "a gateway that is starting can be stopped as well"


def test_log_is_one_json_object_a_line(short: Gateway) -> None:
    for entry in short.log():
        assert {"time", "level", "message"} <= entry.keys()
    assert isinstance(short.process, subprocess.Popen)
