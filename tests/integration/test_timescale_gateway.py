"""TimescaleDB as WASM behind our gateway: what an ordinary PostgreSQL client may rely on."""

import io
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import errors, pq, sql
from psycopg.types.json import Jsonb

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

MEGABYTE = 1024 * 1024


class TestSession:
    def test_parameters_come_from_the_server(self, conn: Connection) -> None:
        told = conn.info.parameter_status
        assert told("server_version") == one(conn, "SHOW server_version") == "17.5"
        assert told("client_encoding") == "UTF8"
        assert told("standard_conforming_strings") == told("integer_datetimes") == "on"
        assert told("TimeZone") == one(conn, "SHOW timezone")
        assert told("DateStyle") == one(conn, "SHOW datestyle")
        assert one(conn, "SELECT current_user || '@' || current_database()") == "sluice@sluice"

    def test_planner_and_messages_are_set_as_in_any_postgres(self, conn: Connection) -> None:
        # The build starts with enable_seqscan off and with debug messages on.
        for _ in range(2):
            assert one(conn, "SHOW enable_seqscan") == "on"
            assert one(conn, "SHOW client_min_messages") == "notice"
            assert one(conn, "SHOW search_path") == '"$user", public'
            conn.execute("RESET ALL")

    @pytest.mark.parametrize("user", ["sluice", "postgres", "someone"])
    def test_any_name_reaches_the_one_database(self, gateway: Gateway, user: str) -> None:
        with gateway.connect(f"user={user} dbname={user}") as connection:
            assert one(connection, "SELECT current_database()") == "sluice"

    def test_encryption_is_declined_and_the_session_goes_on(self, gateway: Gateway) -> None:
        with gateway.connect("sslmode=prefer gssencmode=prefer") as connection:
            assert one(connection, "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
            gateway.connect("sslmode=require")

    def test_what_is_not_the_protocol_is_refused_and_harms_nobody(
        self, gateway: Gateway, conn: Connection
    ) -> None:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"not a PostgreSQL startup packet" in stranger.recv(1000)
            assert stranger.recv(1000) == b""
        for bad in (frame(b"y", b""), frame(b"Q", b"no end"), b"Q\xff\xff\xff\xff"):
            with raw_client(gateway) as client:
                client.sendall(bad)
                (_, error), *_ = read_messages(client, until=b"E")
                assert b"FATAL" in error
                assert b"08P01" in error
        assert one(conn, "SELECT 1") == 1

    def test_invalid_startup_setting_is_told(self, gateway: Gateway) -> None:
        with pytest.raises(errors.UndefinedObject, match="nonsense"):
            gateway.connect("options='-c nonsense=1'").execute("SELECT 1")


class TestQueries:
    def test_values_of_many_types_in_text_and_binary(self, conn: Connection) -> None:
        now = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
        values = (None, 1, 2.5, "grün\t\\", b"\0\xff", now, [1, None, 3], {"a": [1]})
        query = (
            "SELECT %s::text, %s::int8, %s::float8, %s::text, %s::bytea, %s::timestamptz,"
            " %s::int4[], %s::jsonb"
        )
        adapted = (*values[:7], Jsonb(values[7]))
        for binary in (False, True):
            assert conn.execute(query, adapted, binary=binary).fetchone() == values

    def test_empty_and_multi_statement_queries(self, conn: Connection) -> None:
        assert conn.execute("").statusmessage is None
        assert conn.execute(" ;; ").statusmessage is None
        results = conn.execute("SELECT 1; SELECT 2, 3; INSERT INTO t VALUES (1); SELECT 4")
        found = []
        for result in results.results():
            found.append(result.fetchall() if result.description else result.statusmessage)
        assert found == [[(1,)], [(2, 3)], "INSERT 0 1", [(4,)]]

    def test_failing_multi_statement_query_leaves_nothing(self, conn: Connection) -> None:
        with pytest.raises(errors.DivisionByZero):
            conn.execute("INSERT INTO t VALUES (1); SELECT 1/0; INSERT INTO t VALUES (2)")
        assert count(conn) == 0

    def test_ten_megabytes_both_ways(self, conn: Connection) -> None:
        big = "äx" * (5 * MEGABYTE)
        assert one(conn, "SELECT %s::text", big) == big
        conn.execute("INSERT INTO t VALUES (1, %s)", (big,))
        assert one(conn, "SELECT name FROM t", binary=True) == big
        literal = sql.SQL("SELECT length({})").format(sql.Literal(big)).as_string(conn)
        assert one(conn, literal) == len(big)

    def test_executemany(self, conn: Connection) -> None:
        cursor = conn.cursor()
        rows = [(i, f"name {i}") for i in range(1000)]
        cursor.executemany("INSERT INTO t VALUES (%s, %s) RETURNING id", rows, returning=True)
        assert [result.fetchone() for result in cursor.results()] == [(i,) for i in range(1000)]
        assert count(conn) == 1000

    def test_error_in_transaction_until_rollback(self, gateway: Gateway, conn: Connection) -> None:
        with gateway.connect() as other:
            other.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(errors.UniqueViolation) as caught:
                other.execute("INSERT INTO t VALUES (1)")
            assert caught.value.diag.severity == "ERROR"
            assert caught.value.diag.constraint_name == "t_pkey"
            with pytest.raises(errors.InFailedSqlTransaction):
                other.execute("SELECT 1")
            other.rollback()
            with other.transaction(), other.transaction(savepoint_name="sp"):
                other.execute("INSERT INTO t VALUES (2)")
        assert count(conn) == 1

    def test_notices(self, conn: Connection) -> None:
        heard: list[str | None] = []
        conn.add_notice_handler(lambda notice: heard.append(notice.message_primary))
        conn.execute("DO $$ BEGIN RAISE NOTICE 'hello %', 1; END $$")
        conn.execute("DROP TABLE IF EXISTS nowhere")
        with pytest.raises(errors.DivisionByZero), conn.transaction():
            conn.execute("INSERT INTO t VALUES (1)")
            conn.execute("SELECT 1/0")  # the build has a debug message of its own about this
        assert heard == ["hello 1", 'table "nowhere" does not exist, skipping']

    def test_pipeline(self, conn: Connection) -> None:
        with conn.pipeline():
            cursors = [conn.execute("SELECT %s::int * 2", (i,)) for i in range(300)]
        assert [cursor.fetchone() for cursor in cursors] == [(2 * i,) for i in range(300)]

    def test_error_in_pipeline_skips_to_sync(self, conn: Connection) -> None:
        with conn.pipeline() as pipeline:
            conn.execute("INSERT INTO t VALUES (1)")
            pipeline.sync()
            conn.execute("INSERT INTO t VALUES (2)")
            conn.execute("INSERT INTO t VALUES (1)")
            conn.execute("INSERT INTO t VALUES (3)")
            with pytest.raises(errors.UniqueViolation):
                pipeline.sync()
            assert one(conn, "SELECT 'alive'") == "alive"
        assert conn.execute("SELECT id FROM t").fetchall() == [(1,)]

    def test_flush_is_answered_before_sync(self, gateway: Gateway, conn: Connection) -> None:
        with raw_client(gateway) as client:
            client.sendall(
                frame(b"P", b"\0SELECT 42\0\0\0")
                + frame(b"B", b"\0\0\0\0\0\0\0\0")
                + frame(b"E", b"\0\0\0\0\0")
                + frame(b"H", b"")
            )
            assert [kind for kind, _ in read_messages(client, until=b"C")] == [
                b"1",
                b"2",
                b"D",
                b"C",
            ]
            client.sendall(frame(b"S", b""))
            assert read_messages(client, until=b"Z") == [(b"Z", b"I")]

    def test_messages_in_single_bytes(self, gateway: Gateway, conn: Connection) -> None:
        with raw_client(gateway) as client:
            for byte in frame(b"Q", b"INSERT INTO t VALUES (7)\0"):
                client.sendall(bytes([byte]))
            assert read_messages(client, until=b"Z")[0] == (b"C", b"INSERT 0 1\0")
        assert one(conn, "SELECT id FROM t") == 7

    def test_statement_sent_before_goodbye_is_done(
        self, gateway: Gateway, conn: Connection
    ) -> None:
        with conn.transaction():  # keeps the turn until the client is gone
            conn.execute("SELECT 1")
            with raw_client(gateway) as client:
                client.sendall(frame(b"Q", b"INSERT INTO t VALUES (8)\0") + frame(b"X", b""))
            time.sleep(0.1)
            assert count(conn) == 0
        wait_until("the row of the client that left", lambda: count(conn) == 1, 15)

    def test_server_side_cursor(self, gateway: Gateway) -> None:
        with gateway.connect() as connection:
            cursor = connection.cursor("c")
            cursor.execute("SELECT generate_series(1, 10000)")
            assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
            assert sum(row[0] for row in cursor) == 10000 * 10001 // 2 - 6
            cursor.close()

    def test_notify_reaches_the_listener_and_nobody_else(self, gateway: Gateway) -> None:
        with (
            gateway.connect(autocommit=True) as listener,
            gateway.connect(autocommit=True) as second,
            gateway.connect(autocommit=True) as sender,
        ):
            listener.execute("LISTEN news")
            second.execute('LISTEN "news"')
            second.execute("UNLISTEN *")
            sender.execute("SELECT pg_notify('news', 'ready')")
            heard = list(listener.notifies(timeout=5, stop_after=1))
            assert [(note.channel, note.payload) for note in heard] == [("news", "ready")]
            assert heard[0].pid == sender.info.backend_pid
            assert not list(second.notifies(timeout=0.1))
            assert not list(sender.notifies(timeout=0))


class TestCopy:
    def test_hundred_thousand_rows_both_ways(self, conn: Connection) -> None:
        rows = [(i, f"row {i} \\ \t ü") for i in range(100_000)]
        cursor = conn.cursor()
        with cursor.copy("COPY t FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        assert cursor.rowcount == 100_000
        with cursor.copy("COPY (SELECT * FROM t ORDER BY id) TO STDOUT") as copy:
            copy.set_types(["int4", "text"])
            assert list(copy.rows()) == rows

    def test_binary(self, conn: Connection) -> None:
        rows = [(i, None if i % 7 == 0 else "x" * (i % 300)) for i in range(20_000)]
        cursor = conn.cursor()
        with cursor.copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            for row in rows:
                copy.write_row(row)
        with cursor.copy("COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            assert list(copy.rows()) == rows

    def test_bad_row_is_told_and_the_connection_goes_on(self, conn: Connection) -> None:
        for _ in range(3):
            # Far more data follows the bad row than fits into all buffers on the way.
            with (
                pytest.raises(errors.InvalidTextRepresentation, match="line 5001"),
                conn.cursor().copy("COPY t FROM STDIN") as copy,
            ):
                copy.write("".join(f"{i}\tgood\n" for i in range(5000)))
                copy.write("bad\tbad\n")
                for _ in range(64):
                    copy.write("1\tlong\n" * 20_000)
            assert count(conn) == 0

    def test_copy_that_cannot_begin(self, conn: Connection) -> None:
        with (
            pytest.raises(errors.UndefinedTable),
            conn.cursor().copy("COPY nix FROM STDIN") as copy,
        ):
            copy.write("1\n")
        assert count(conn) == 0

    def test_client_gives_up(self, conn: Connection) -> None:
        with pytest.raises(KeyError), conn.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write("1\tx\n")
            raise KeyError
        assert count(conn) == 0
        with (
            pytest.raises(KeyError),
            conn.cursor().copy("COPY (SELECT generate_series(1, 100000)) TO STDOUT") as copy,
        ):
            next(iter(copy))
            raise KeyError
        assert one(conn, "SELECT 1") == 1

    def test_copy_in_a_transaction_with_more_around_it(
        self, gateway: Gateway, conn: Connection
    ) -> None:
        with gateway.connect() as other:
            other.execute("CREATE TEMP TABLE stage (LIKE t) ON COMMIT DROP")
            with other.cursor().copy("COPY stage FROM STDIN") as copy:
                copy.write("1\ta\n2\tb\n")
            other.execute("INSERT INTO t SELECT * FROM stage ON CONFLICT DO NOTHING")
        assert conn.execute("SELECT * FROM t ORDER BY 1").fetchall() == [(1, "a"), (2, "b")]

    @pytest.mark.parametrize("data", [b"1\tx\n", b"oops\n"])
    def test_copy_by_the_extended_protocol(self, conn: Connection, data: bytes) -> None:
        # The Sync behind Execute is swallowed by the COPY, so a second one ends it.
        pg = conn.pgconn
        pg.send_query_params(b"COPY t FROM STDIN", None)
        while (result := pg.get_result()) is None or result.status != pq.ExecStatus.COPY_IN:
            pass
        pg.put_copy_data(data)
        pg.put_copy_end()
        statuses = []
        while result := pg.get_result():
            statuses.append(result.status)
        good = data.startswith(b"1")
        assert statuses == [pq.ExecStatus.COMMAND_OK if good else pq.ExecStatus.FATAL_ERROR]
        assert count(conn) == int(good)

    def test_others_do_not_see_half_a_copy(self, gateway: Gateway, conn: Connection) -> None:
        seen: list[int] = []
        with gateway.connect(autocommit=True) as other:
            reader = threading.Thread(target=lambda: seen.append(count(other)))
            with conn.cursor().copy("COPY t FROM STDIN") as copy:
                copy.write("1\ta\n")
                reader.start()
                time.sleep(0.2)
                assert not seen
                copy.write("2\tb\n")
            reader.join(10)
        assert seen == [2]

    def test_memory_is_bound_while_a_copy_is_larger(
        self, gateway: Gateway, conn: Connection
    ) -> None:
        before = gateway.memory_mib()
        block = "1\t" + "x" * 1000 + "\n"
        with pytest.raises(errors.CheckViolation):  # a late refusal: nothing is kept on disk
            conn.execute("CREATE TABLE big (id int CHECK (id < 2), name text)")
            with conn.cursor().copy("COPY big FROM STDIN") as copy:
                for _ in range(150):
                    copy.write(block * 1000)
                copy.write("2\tend\n")
        conn.execute("DROP TABLE big")
        assert gateway.memory_mib() - before < 150

    def test_copy_out_to_a_file_like_object(self, conn: Connection) -> None:
        conn.execute("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 1000) i")
        target = io.BytesIO()
        with conn.cursor().copy("COPY t TO STDOUT (FORMAT csv)") as copy:
            for block in copy:
                target.write(block)
        assert target.getvalue().count(b"\n") == 1000


class TestTimescale:
    def test_features(self, conn: Connection) -> None:
        conn.execute("DROP TABLE IF EXISTS m CASCADE")
        conn.execute("CREATE TABLE m (time timestamptz NOT NULL, device int, value float8)")
        conn.execute("SELECT create_hypertable('m', by_range('time', INTERVAL '1 day'))")
        start = datetime(2026, 1, 1, tzinfo=UTC)
        with conn.cursor().copy("COPY m FROM STDIN") as copy:
            for minute in range(0, 5 * 24 * 60, 5):
                copy.write_row((start + timedelta(minutes=minute), minute % 3, float(minute)))
        rows = count(conn, "m")
        assert one(conn, "SELECT count(*) FROM show_chunks('m')") == 5

        conn.execute(
            "CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous) AS"
            " SELECT time_bucket('1 hour', time) AS hour, device, avg(value) AS mean"
            " FROM m GROUP BY 1, 2 WITH NO DATA"
        )
        conn.execute("CALL refresh_continuous_aggregate('hourly', NULL, NULL)")
        assert count(conn, "hourly") == 5 * 24 * 3

        gapfill = (
            "SELECT time_bucket_gapfill('1 hour', time) AS hour, locf(avg(value)) FROM m"
            " WHERE time >= %s AND time < %s AND device = 1 GROUP BY 1"
        )
        cursor = conn.execute(gapfill, (start - timedelta(hours=2), start + timedelta(hours=3)))
        assert len(cursor.fetchall()) == 5

        conn.execute(
            "ALTER TABLE m SET (timescaledb.compress, timescaledb.compress_segmentby = 'device')"
        )
        assert one(conn, "SELECT count(compress_chunk(c)) FROM show_chunks('m') c") == 5
        assert count(conn, "m") == rows

        job = one(conn, "SELECT add_retention_policy('m', INTERVAL '1 day')")
        conn.execute("INSERT INTO m VALUES (now(), 1, 1)")
        conn.execute(f"CALL run_job({int(job)})")
        assert count(conn, "m") == 1
        conn.execute("DROP TABLE m CASCADE")
