"""What a log line looks like."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from control.logs import JsonFormatter, configure_logging, correlation_id

Form = Literal["auto", "json", "pretty"]
Configure = Callable[..., io.StringIO]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Return a maker of logging to a text; the test run's own logging comes back after it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def make(form: Form = "json", level: str = "info", *, terminal: bool = False) -> io.StringIO:
        stream = io.StringIO()
        if terminal:
            stream.isatty = lambda: True  # type: ignore[method-assign]
        configure_logging(level, form, stream)
        return stream

    token = correlation_id.set(None)
    yield make
    correlation_id.reset(token)
    root.handlers[:] = handlers
    root.setLevel(level)


def only_line(stream: io.StringIO) -> dict[str, Any]:
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    line: dict[str, Any] = json.loads(text)
    return line


def fail() -> None:
    message = "it broke"
    raise ValueError(message)


def test_a_json_line_has_time_level_logger_and_message(configure: Configure) -> None:
    stream = configure()
    logging.getLogger("sluice.test").warning("%s of %d", "one", 2)
    line = only_line(stream)
    time = datetime.fromisoformat(line.pop("time"))
    assert time.utcoffset() == timedelta(0)
    assert line == {"level": "warning", "logger": "sluice.test", "message": "one of 2"}


def test_a_json_line_carries_the_correlation_id(configure: Configure) -> None:
    stream = configure()
    correlation_id.set("abc-1")
    logging.getLogger("test").info("x")
    assert only_line(stream)["correlation_id"] == "abc-1"


def test_a_json_line_carries_its_extras(configure: Configure) -> None:
    stream = configure()
    logging.getLogger("test").info("x", extra={"job": "ingest", "count": 3, "file": Path("a/b")})
    line = only_line(stream)
    assert (line["job"], line["count"], line["file"]) == ("ingest", 3, "a/b")


def test_a_json_line_carries_the_exception(configure: Configure) -> None:
    stream = configure()
    try:
        fail()
    except ValueError:
        logging.getLogger("test").exception("failed")
    line = only_line(stream)
    assert line["message"] == "failed"
    assert line["level"] == "error"
    assert "Traceback" in line["exception"]
    assert line["exception"].endswith("ValueError: it broke")


def test_what_another_formatter_left_in_a_record_is_no_extra() -> None:
    record = logging.makeLogRecord({"msg": "x"})
    logging.Formatter("%(asctime)s %(message)s").format(record)
    assert set(json.loads(JsonFormatter().format(record))) == {
        "time", "level", "logger", "message"
    }


def test_a_message_of_two_lines_stays_one_json_line(configure: Configure) -> None:
    stream = configure()
    logging.getLogger("test").info("one\ntwo äöü")
    assert only_line(stream)["message"] == "one\ntwo äöü"


def test_a_pretty_line_is_short(configure: Configure) -> None:
    stream = configure("pretty")
    correlation_id.set("abc-1")
    logging.getLogger("test").info("deployed", extra={"job": "ingest"})
    clock, rest = stream.getvalue().split(" ", 1)
    assert datetime.strptime(clock, "%H:%M:%S")  # noqa: DTZ007 - a clock without a day
    assert rest == "INFO    deployed job=ingest correlation_id=abc-1\n"


def test_a_pretty_exception_follows_its_line(configure: Configure) -> None:
    stream = configure("pretty")
    try:
        fail()
    except ValueError:
        logging.getLogger("test").exception("failed")
    first, second, *_, last = stream.getvalue().splitlines()
    assert first.endswith("failed")
    assert second == "Traceback (most recent call last):"
    assert last == "ValueError: it broke"


@pytest.mark.parametrize(("form", "terminal", "pretty"), [
    ("auto", True, True), ("auto", False, False), ("json", True, False), ("pretty", False, True),
])
def test_auto_is_pretty_on_a_terminal_and_json_in_a_pipe(
    configure: Configure, form: Form, terminal: bool, pretty: bool
) -> None:
    stream = configure(form, terminal=terminal)
    logging.getLogger("test").info("x")
    assert stream.getvalue().startswith("{") is not pretty


def test_the_level_holds_back_what_is_below_it(configure: Configure) -> None:
    stream = configure(level="warning")
    logging.getLogger("test").info("too low")
    logging.getLogger("test").warning("high enough")
    assert only_line(stream)["message"] == "high enough"


def test_client_libraries_are_quiet_even_at_debug(configure: Configure) -> None:
    stream = configure(level="debug")
    logging.getLogger("httpx").info("a request")
    logging.getLogger("kafka.client").error("a retry")
    assert stream.getvalue() == ""


def test_configuring_twice_writes_each_line_once(configure: Configure) -> None:
    configure()
    stream = configure()
    logging.getLogger("test").info("x")
    only_line(stream)
