"""A small HTTP server that serves bytes, knows ranges, and can be told to misbehave."""

import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Request:
    """One request as the server saw it."""

    path: str
    range: str | None
    sent: int


@dataclass
class Behaviour:
    """What the server holds and how it errs."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    # How many bytes each of the next answers carries before its connection is cut.
    cuts: list[int] = field(default_factory=list)
    # The next answers that are no HTTP at all.
    garbage: int = 0
    chunked: bool = False
    requests: list[Request] = field(default_factory=list)


class FileServer(Behaviour):
    """Listens on a free port of this machine while it is entered."""

    def __enter__(self) -> Self:
        behaviour = self

        class Handler(_Handler):
            state: Behaviour = behaviour

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    state: Behaviour

    def do_GET(self) -> None:
        state = self.state
        if state.garbage:
            state.garbage -= 1
            self.wfile.write(b"220 this is a mail server\r\n\r\n")
            state.requests.append(Request(self.path, None, 0))
            return
        content = state.files.get(self.path)
        wanted = self.headers.get("Range")
        if content is None:
            state.requests.append(Request(self.path, wanted, 0))
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        start = 0
        if wanted is not None and state.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = content[start:]
        self.send_response(HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK)
        self._send(state, body, wanted)

    def _send(self, state: Behaviour, body: bytes, wanted: str | None) -> None:
        sent = body[: state.cuts.pop(0)] if state.cuts else body
        # Noted before the client can have read it all.
        state.requests.append(Request(self.path, wanted, len(sent)))
        if state.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(body), sent))
            if sent == body:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(sent)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
