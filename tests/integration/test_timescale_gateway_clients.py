"""TimescaleDB as WASM behind our gateway: what many clients do to one another in one backend."""

import threading
import time

import pytest
from psycopg import errors, pq
from psycopg_pool import ConnectionPool

from tests.integration.timescale_gateway import (
    Connection,
    Gateway,
    count,
    frame,
    one,
    raw_client,
    read_messages,
)
from tests.kit.wait import wait_until


class TestDisconnect:
    def test_in_a_copy(self, gateway: Gateway, conn: Connection) -> None:
        with raw_client(gateway) as client:
            client.sendall(frame(b"Q", b"COPY t FROM STDIN\0"))
            read_messages(client, until=b"G")
            client.sendall(frame(b"d", b"1\tx\n") * 1000 + frame(b"d", b"x")[:4])
        assert count(conn) == 0

    def test_in_an_extended_sequence(self, gateway: Gateway, conn: Connection) -> None:
        with raw_client(gateway) as client:
            client.sendall(
                frame(b"P", b"\0INSERT INTO t VALUES (1)\0\0\0")
                + frame(b"B", b"\0\0\0\0\0\0\0\0")
                + frame(b"E", b"\0\0\0\0\0")
                + frame(b"H", b"")
            )
            read_messages(client, until=b"C")
        assert count(conn) == 0

    def test_after_an_error_in_an_extended_sequence(
        self, gateway: Gateway, conn: Connection
    ) -> None:
        with raw_client(gateway) as client:
            client.sendall(frame(b"P", b"\0SELECT nope\0\0\0") + frame(b"H", b""))
            read_messages(client, until=b"E")
        assert conn.execute("SELECT %s::int", (5,)).fetchone() == (5,)

    @pytest.mark.parametrize("statement", ["SELECT 1", "SELECT nope"])
    def test_in_a_transaction(self, gateway: Gateway, conn: Connection, statement: str) -> None:
        with raw_client(gateway) as client:
            client.sendall(frame(b"Q", b"BEGIN; INSERT INTO t VALUES (1)\0"))
            read_messages(client, until=b"Z")
            client.sendall(frame(b"Q", f"{statement}\0".encode()))
            read_messages(client, until=b"Z")
        assert count(conn) == 0
        with conn.transaction():
            conn.execute("INSERT INTO t VALUES (1)")
        assert count(conn) == 1

    def test_while_its_result_is_being_sent(self, gateway: Gateway, conn: Connection) -> None:
        with raw_client(gateway) as client:
            client.sendall(
                frame(b"Q", b"SELECT repeat('x', 1000) FROM generate_series(1, 200000)\0")
            )
            client.recv(1000)
        assert one(conn, "SELECT 1") == 1


class TestIsolation:
    def test_prepared_statements_of_the_same_name(self, gateway: Gateway) -> None:
        with gateway.connect(autocommit=True) as a, gateway.connect(autocommit=True) as b:
            for i in range(8):
                assert one(a, "SELECT %s::int + 1", i) == i + 1
                assert one(b, "SELECT %s::text || 'b'", str(i)) == f"{i}b"
                for connection in (a, b):
                    connection.execute("SELECT 1", prepare=True)
            names = a.execute("SELECT name FROM pg_prepared_statements").fetchall()
            assert len([name for (name,) in names if name.endswith("_pg3_0")]) == 2

    @pytest.mark.parametrize(
        "statement", ["DEALLOCATE ALL", "DISCARD ALL", "SELECT 1; DEALLOCATE ALL"]
    )
    def test_deallocate_all_of_another_client(self, gateway: Gateway, statement: str) -> None:
        with gateway.connect(autocommit=True) as a, gateway.connect(autocommit=True) as b:
            a.execute("SELECT %s::int", (1,), prepare=True)
            b.execute("SELECT 2", prepare=True)
            b.execute(statement)
            assert a.execute("SELECT %s::int", (3,), prepare=True).fetchone() == (3,)
            prepared = b.pgconn.exec_prepared(b"_pg3_0", None)
            assert prepared.status == pq.ExecStatus.FATAL_ERROR
            assert prepared.error_field(pq.DiagnosticField.SQLSTATE) == b"26000"

    def test_lost_statement_in_a_failed_transaction(self, gateway: Gateway) -> None:
        with gateway.connect() as a, gateway.connect(autocommit=True) as b:
            a.execute("SELECT %s::int", (1,), prepare=True)
            a.commit()
            b.execute("DEALLOCATE ALL")
            with pytest.raises(errors.UndefinedColumn):
                a.execute("SELECT nope")
            refused = a.pgconn.exec_prepared(b"_pg3_0", [b"2"])
            assert refused.error_field(pq.DiagnosticField.SQLSTATE) == b"25P02"
            a.pgconn.exec_(b"ROLLBACK")
            assert a.pgconn.exec_prepared(b"_pg3_0", [b"3"]).get_value(0, 0) == b"3"

    def test_deallocate_by_sql(self, conn: Connection) -> None:
        pg = conn.pgconn
        pg.prepare(b"mine", b"SELECT 1")
        assert pg.exec_prepared(b"mine", None).status == pq.ExecStatus.TUPLES_OK
        assert pg.exec_(b'DEALLOCATE "mine"').status == pq.ExecStatus.COMMAND_OK
        assert pg.exec_prepared(b"mine", None).status == pq.ExecStatus.FATAL_ERROR
        assert pg.prepare(b"mine", b"SELECT 2").status == pq.ExecStatus.COMMAND_OK
        assert pg.exec_prepared(b"mine", None).get_value(0, 0) == b"2"

    def test_unnamed_statement_survives_other_clients(self, gateway: Gateway) -> None:
        with gateway.connect(autocommit=True) as a, gateway.connect(autocommit=True) as b:
            a.pgconn.prepare(b"", b"SELECT 'a'")
            b.pgconn.prepare(b"", b"SELECT 'b'")
            b.execute("SELECT 'simple'")
            assert a.pgconn.exec_prepared(b"", None).get_value(0, 0) == b"a"
            assert b.pgconn.exec_prepared(b"", None).status == pq.ExecStatus.FATAL_ERROR

    def test_settings_stay_with_their_client(self, gateway: Gateway) -> None:
        with (
            gateway.connect(
                "options='-c timezone=Asia/Tokyo' application_name=a", autocommit=True
            ) as a,
            gateway.connect(autocommit=True) as b,
        ):
            shown = "SELECT current_setting('timezone') || current_setting('work_mem')"
            custom = "SELECT current_setting('app.tenant', true)"
            assert one(a, shown) == "Asia/Tokyo4MB"
            assert a.info.parameter_status("TimeZone") == "Asia/Tokyo"
            b.execute("SET work_mem = '8MB'")
            b.execute("SET app.tenant = 'blue'")
            b.execute("CREATE ROLE reader")
            b.execute("SET ROLE reader")
            b.execute("SET search_path = pg_catalog")
            for _ in range(2):
                assert one(a, shown) == "Asia/Tokyo4MB"
                assert one(a, custom) in (None, "")
                assert one(a, "SELECT current_user") == "sluice"
                assert one(a, "SHOW application_name") == "a"
                assert one(a, "SHOW search_path") == '"$user", public'
                assert one(b, shown) == "GMT8MB"
                assert one(b, custom) == "blue"
                assert one(b, "SELECT current_user") == "reader"
                assert one(b, "SHOW search_path") == "pg_catalog"
            b.execute("RESET ALL; RESET ROLE")
            assert one(b, shown) == "GMT4MB"
            b.execute("DROP ROLE reader")
        with gateway.connect() as fresh:
            assert one(fresh, shown) == "GMT4MB"

    def test_rolled_back_set_is_forgotten(self, gateway: Gateway, conn: Connection) -> None:
        with gateway.connect() as other:
            other.execute("SET timezone = 'Asia/Tokyo'; SET work_mem = '9MB'")
            assert other.info.parameter_status("TimeZone") == "Asia/Tokyo"
            other.rollback()
            assert other.info.parameter_status("TimeZone") == "GMT"
            assert one(conn, "SHOW work_mem") == "4MB"
            assert one(other, "SHOW work_mem") == "4MB"

    def test_what_a_client_made_goes_with_it(self, gateway: Gateway, conn: Connection) -> None:
        left = (
            "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),"
            " (SELECT count(*) FROM pg_cursors),"
            " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),"
            " (SELECT count(*) FROM pg_prepared_statements WHERE name <> '')"
        )
        conn.execute("CREATE TEMP TABLE kept (a int)")
        with gateway.connect(autocommit=True) as other:
            other.execute("CREATE TEMP TABLE scratch (a serial PRIMARY KEY, b text)")
            other.execute("CREATE TEMP VIEW looks AS SELECT * FROM scratch")
            other.execute("DECLARE held CURSOR WITH HOLD FOR SELECT 1")
            other.execute("SELECT pg_advisory_lock(77), pg_advisory_lock(1, -2)")
            other.execute("PREPARE by_sql AS SELECT 1")
            other.execute("SELECT %s::int", (1,), prepare=True)
            before = conn.execute(left, prepare=False).fetchone()
            assert before is not None
            assert all(number > 0 for number in before)
        wait_until(
            "what the client left behind is removed",
            lambda: conn.execute(left, prepare=False).fetchone() == (1, 0, 0, 0),
            15,
        )
        assert count(conn, "kept") == 0


class TestConcurrency:
    def test_transactions_of_four_threads(self, gateway: Gateway, conn: Connection) -> None:
        conn.execute("INSERT INTO t VALUES (1, '0')")
        done: dict[int, int] = {}

        def work(number: int) -> None:
            with gateway.connect() as mine:
                for i in range(40):
                    with mine.transaction():
                        held = int(one(mine, "SELECT name FROM t WHERE id = 1"))
                        mine.execute("UPDATE t SET name = %s WHERE id = 1", (str(held + 1),))
                        mine.execute("INSERT INTO t VALUES (%s)", (100 * number + i + 100,))
                    done[number] = i + 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        wait_until("one thread is through", lambda: max(done.values(), default=0) == 40, pause=0.01)
        assert min(done.get(number, 0) for number in range(4)) > 20, "a client was starved"
        for thread in threads:
            thread.join(60)
        assert one(conn, "SELECT name FROM t WHERE id = 1") == "160"
        assert count(conn) == 161

    def test_pool(self, gateway: Gateway, conn: Connection) -> None:
        def work(number: int) -> None:
            for i in range(25):
                with pool.connection() as mine:
                    mine.execute("INSERT INTO t VALUES (%s, %s)", (1000 * number + i, "p"))
                    if i % 5 == 0:
                        mine.execute("SELECT count(*) FROM t")

        with ConnectionPool(gateway.dsn, min_size=4, max_size=4) as pool:
            pool.wait()
            threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        assert count(conn) == 150

    def test_slow_reader_neither_fills_memory_nor_stops_others(
        self, gateway: Gateway, conn: Connection
    ) -> None:
        before = gateway.memory_mib()
        with raw_client(gateway) as slow:
            # 20 MB: taken over by the gateway, so the turn passes on although nobody reads.
            slow.sendall(frame(b"Q", b"SELECT repeat('x', 1000) FROM generate_series(1, 20000)\0"))
            assert one(conn, "SELECT 1") == 1
            assert len(read_messages(slow, until=b"Z")) == 20003
            # 300 MB: the database waits for the reader.
            slow.sendall(frame(b"Q", b"SELECT repeat('x', 1000) FROM generate_series(1, 300000)\0"))
            time.sleep(1)
            assert gateway.memory_mib() - before < 150
        assert one(conn, "SELECT 1") == 1
