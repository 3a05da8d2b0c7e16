"""Logging: JSON lines with a correlation id, or one readable line on a terminal."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, TextIO

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)

# What a LogRecord has by itself; everything else was given as `extra` and belongs in the line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with whatever was passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record as JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := correlation_id.get()) is not None:
            line["correlation_id"] = current
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class PrettyFormatter(logging.Formatter):
    """A short line for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record as time, level, message and its extras."""
        clock = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        extras = " ".join(
            f"{key}={value}" for key, value in vars(record).items() if key not in _STANDARD
        )
        parts = [clock, f"{record.levelname:7}", record.getMessage(), extras]
        if (current := correlation_id.get()) is not None:
            parts.append(f"correlation_id={current}")
        line = " ".join(part for part in parts if part)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure_logging(
    level: str, form: Literal["auto", "json", "pretty"], stream: TextIO | None = None
) -> None:
    """Send all logging to one stream (stderr by default) in the chosen form."""
    stream = stream if stream is not None else sys.stderr
    pretty = form == "pretty" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrettyFormatter() if pretty else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Client libraries log every retry; ours say once what happened.
    for chatty in ("httpx", "httpcore", "elastic_transport", "kafka"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL if chatty == "kafka" else "WARNING")
