"""The S3 store against answers that a server gives on a bad day."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import SecretStr

from control.archive.pack import Archive
from control.archive.s3 import S3Store
from control.archive.s3_access import S3Access
from control.archive.stored import ArchiveMissingError, StoreAccessError, StoreAwayError
from control.errors import MisuseError, RefusedError, SluiceError
from tests.unit.archive_kit import packed
from tests.unit.file_server import FileServer

Answer = httpx.Response | Exception
SECRET = "s3cr3t-of-the-store"
ACCESS = S3Access("http://127.0.0.1:1", "eu-west-1", "THE-KEY", SecretStr(SECRET))
HASH = "0" * 64


class Server:
    """Gives the next of its answers, and remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def store(self, prefix: str = "", access: S3Access = ACCESS) -> S3Store:
        return S3Store("bucket", prefix, access, transport=httpx.MockTransport(self),
                       pause=self.pauses.append)


def problem(status: int, code: str, message: str = "It is so.") -> httpx.Response:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return httpx.Response(status, text=text)


def page(*keys: str, token: str = "") -> httpx.Response:
    entries = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-0{number}T00:00:00.000Z</LastModified>"
        f"<Size>{number}</Size></Contents>" for number, key in enumerate(keys, 1)
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return httpx.Response(200, text=(
        "<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
        f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>{entries}{more}</ListBucketResult>"
    ))


def test_a_put_signs_the_hash_and_sends_the_length(tmp_path: Path) -> None:
    archive, server = packed(tmp_path), Server(httpx.Response(404), httpx.Response(200))
    server.store("a b/é+(1)").put(archive)
    put = server.asked[1]
    assert [request.method for request in server.asked] == ["HEAD", "PUT"]
    assert put.url.raw_path == f"/bucket/a%20b/%C3%A9%2B%281%29/{archive.hash}.zip".encode()
    assert put.headers["host"] == "127.0.0.1:1"
    assert put.headers["x-amz-content-sha256"] == archive.hash
    assert put.headers["content-length"] == str(archive.size)
    assert "transfer-encoding" not in put.headers
    assert put.content == archive.path.read_bytes()


def test_an_archive_that_is_there_is_not_sent_again(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    there = httpx.Response(200, headers={"content-length": str(archive.size)})
    server = Server(there)
    server.store().put(archive)
    assert len(server.asked) == 1


def test_one_of_another_size_is_mended(tmp_path: Path) -> None:
    server = Server(httpx.Response(200, headers={"content-length": "1"}), httpx.Response(200))
    server.store().put(packed(tmp_path))
    assert [request.method for request in server.asked] == ["HEAD", "PUT"]


def test_a_file_that_changed_since_it_was_packed_is_not_sent(tmp_path: Path) -> None:
    archive, server = packed(tmp_path), Server()
    archive.path.write_bytes(b"x" * archive.size)
    with pytest.raises(RefusedError, match="damaged"):
        server.store().put(archive)
    assert server.asked == []


_PASSING: list[Callable[[], Answer]] = [
    lambda: problem(503, "SlowDown"), lambda: problem(500, "InternalError"),
    lambda: httpx.Response(502, text="<html>a proxy"), lambda: problem(400, "RequestTimeout"),
    lambda: httpx.Response(429), lambda: httpx.ConnectError("refused"),
    lambda: httpx.ReadTimeout("too slow"), lambda: httpx.RemoteProtocolError("cut off"),
]


@pytest.mark.parametrize("fault", _PASSING)
def test_what_may_pass_is_tried_again_from_the_beginning(
    tmp_path: Path, fault: Callable[[], Answer]
) -> None:
    archive = packed(tmp_path)
    missing = httpx.Response(404)
    server = Server(fault(), missing, fault(), missing, fault(), missing, httpx.Response(200))
    server.store().put(archive)
    assert server.asked[-1].content == archive.path.read_bytes()
    assert server.pauses == [0.3, 1.0, 4.0]


@pytest.mark.parametrize("fault", _PASSING)
def test_but_not_for_ever(fault: Callable[[], Answer]) -> None:
    server = Server(*(fault() for _ in range(9)))
    with pytest.raises(StoreAwayError, match="tried 4 times") as error:
        server.store().list()
    assert len(server.asked) == 4
    assert "s3://bucket/ at 127.0.0.1:1" in error.value.message
    assert "SLUICE_S3_ENDPOINT" in error.value.hint


@pytest.mark.parametrize(("answer", "kind", "words", "hint"), [
    (problem(403, "SignatureDoesNotMatch"), StoreAccessError, "It is so", "SLUICE_S3_SECRET"),
    (problem(403, "InvalidAccessKeyId"), StoreAccessError, "InvalidAccessKeyId", "SLUICE_S3_KEY"),
    (problem(403, "AccessDenied"), StoreAccessError, "does not let us", "allowed to get, put"),
    (problem(403, "RequestTimeTooSkewed"), StoreAccessError, "does not let us", "clock"),
    (httpx.Response(401), StoreAccessError, "401 Unauthorized", "SLUICE_S3_KEY"),
    (problem(404, "NoSuchBucket"), SluiceError, "NoSuchBucket", "Make the bucket"),
    (httpx.Response(404, text="<html>"), SluiceError, "404 Not Found", "SLUICE_S3_ENDPOINT"),
    (httpx.Response(301, headers={"x-amz-bucket-region": "eu-south-2"}), SluiceError, "301",
     "the region eu-south-2: set SLUICE_S3_REGION"),
    (problem(400, "AuthorizationHeaderMalformed"), SluiceError, "400", "SLUICE_S3_REGION"),
])
def test_a_refusal_says_what_to_do_and_is_not_tried_again(
    tmp_path: Path, answer: httpx.Response, kind: type[SluiceError], words: str, hint: str
) -> None:
    server = Server(answer)
    with pytest.raises(kind) as error:
        server.store().get(HASH, tmp_path)
    assert words in error.value.message
    assert hint in error.value.hint
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    server = Server(problem(404, "NoSuchKey"), httpx.Response(404), problem(404, "NoSuchKey"))
    with pytest.raises(ArchiveMissingError, match=HASH) as error:
        server.store().get(HASH, tmp_path)
    assert "SLUICE_ARCHIVE_STORE" in error.value.hint
    assert not server.store().has(HASH)
    server.store().delete(HASH)


def test_what_a_server_repeats_of_the_secret_is_not_shown(
    caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = problem(403, "InvalidAccessKeyId", f"No key {SECRET}, nor THE-KEY,\x9b in our records.")
    server = Server(httpx.ConnectError("away"), said)
    with pytest.raises(StoreAccessError) as error:
        server.store().list()
    told = error.value.message + error.value.hint + caplog.text
    assert "in our records" in error.value.message
    assert error.value.message.isprintable()
    assert SECRET not in told
    assert "THE-KEY" not in told


def test_a_download_that_breaks_off_leaves_nothing_and_begins_anew(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    content = archive.path.read_bytes()

    def broken() -> Iterator[bytes]:
        yield content[:50]
        reason = "cut off"
        raise httpx.ReadError(reason)

    into = tmp_path / "into"
    server = Server(
        httpx.Response(200, content=broken()), httpx.Response(200, content=iter([content]))
    )
    assert server.store().get(archive.hash, into).read_bytes() == content
    assert list(into.iterdir()) == [into / f"{archive.hash}.zip"]
    # The second time nobody has to be asked.
    assert server.store().get(archive.hash, into) == into / f"{archive.hash}.zip"
    assert len(server.asked) == 2


def test_a_connection_that_is_cut_is_tried_again(
    tmp_path: Path, server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    archive = packed(tmp_path)
    content = archive.path.read_bytes()
    server.files[f"/bucket/{archive.hash}.zip"] = content
    server.cuts = [0, len(content) - 1]
    access = replace(ACCESS, endpoint=server.url)
    store = S3Store("bucket", "", access, pause=lambda _: None)
    assert store.get(archive.hash, tmp_path / "into").read_bytes() == content
    assert [one.sent for one in server.requests] == [0, len(content) - 1, len(content)]
    assert caplog.text.count("asked again") == 2


def test_a_damaged_object_is_refused_and_leaves_what_is_there(tmp_path: Path) -> None:
    archive = packed(tmp_path)
    into = tmp_path / "into"
    into.mkdir()
    server = Server(httpx.Response(200, content=iter([archive.path.read_bytes()[:-1]])))
    with pytest.raises(RefusedError, match="damaged"):
        server.store().get(archive.hash, into)
    assert list(into.iterdir()) == []


def test_a_list_is_read_to_its_end() -> None:
    names = [f"{digit * 64}.zip" for digit in "abc"]
    server = Server(
        page(f"p/{names[0]}", "p/notes.txt", token="one/+="), page(f"p%2F{names[1]}", token="2"),
        page(f"p/{names[2]}", f"p/x{names[2]}"),
    )
    found = server.store("p").list()
    assert [one.hash[0] for one in found] == ["c", "b", "a"]
    assert {one.size for one in found} == {1}
    queries = [parse_qs(request.url.query.decode()) for request in server.asked]
    assert [query.get("continuation-token") for query in queries] == [None, ["one/+="], ["2"]]
    assert all(query["prefix"] == ["p/"] for query in queries)


@pytest.mark.parametrize("answers", [
    [httpx.Response(200, text="<html>Welcome")], [httpx.Response(200, text="")],
    [page(token="x"), page(token="x")],
    [httpx.Response(200, text="<L><IsTruncated>true</IsTruncated></L>")],
    [httpx.Response(200, text=f"<L><Contents><Key>{HASH}.zip</Key></Contents></L>")],
])
def test_what_is_no_list_is_an_error(answers: list[httpx.Response]) -> None:
    with pytest.raises(SluiceError, match=r"no list of objects|again and again"):
        Server(*answers).store().list()


@pytest.mark.parametrize(("bucket", "prefix"), [
    ("", ""), ("a/b", ""), ("-x", ""), ("bucket", "a/../b"), ("bu cket", ""), ("b@host", ""),
])
def test_an_address_that_leads_elsewhere_is_refused(bucket: str, prefix: str) -> None:
    with pytest.raises(MisuseError, match="no address of a bucket"):
        S3Store(bucket, prefix, ACCESS)


def test_what_is_no_hash_is_not_asked_for(tmp_path: Path) -> None:
    server = Server()
    store = server.store()
    for work in (store.has, store.delete, lambda text: store.get(text, tmp_path),
                 lambda text: store.put(Archive(text, packed(tmp_path).path, 1, {}))):
        with pytest.raises((MisuseError, RefusedError)):
            work("../../etc")
    assert server.asked == []
