"""Archives in a server that speaks S3 and checks every signature."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from control.archive.pack import Archive
from control.archive.s3 import S3Store
from control.archive.s3_access import S3Access
from control.archive.store import open_store
from control.archive.stored import ArchiveMissingError, StoreAccessError, StoreAwayError
from control.archive.unpack import unpack
from control.errors import RefusedError, SluiceError
from tests.kit.s3 import S3Server, s3_server
from tests.unit.archive_kit import CODE, packed

ODD = "équipe rouge/a+b & c=d/100%~(x)*'!"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as running:
        yield running


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return packed(tmp_path, job="ingest")


def store_of(server: S3Server, prefix: str, access: S3Access | None = None) -> S3Store:
    """Return a store that does not wait between its tries, and whose lists have short pages."""
    return S3Store(server.bucket, prefix, access or server.access, page_size=2,
                   pause=lambda _: None)


@pytest.mark.parametrize("prefix", ["", "plain", "two words", "accents/éèü", ODD])
def test_there_and_back(
    server: S3Server, archive: Archive, tmp_path: Path, prefix: str
) -> None:
    store = open_store(f"s3://{server.bucket}/{prefix}", server.access)
    assert not store.has(archive.hash)
    store.put(archive)
    assert store.has(archive.hash)
    assert f"{prefix}/{archive.hash}.zip".lstrip("/") in server.names()
    assert [(one.hash, one.size) for one in store.list()] == [(archive.hash, archive.size)]
    got = store.get(archive.hash, tmp_path / "into")
    assert got.read_bytes() == archive.path.read_bytes()
    whole = unpack(replace(archive, path=got), tmp_path / "cache")
    assert (whole / "jobs/ingest.py").read_text() == CODE["jobs/ingest.py"]
    store.delete(archive.hash)
    assert not store.has(archive.hash)
    store.delete(archive.hash)


def test_put_twice_leaves_the_first(server: S3Server, archive: Archive) -> None:
    store = store_of(server, "twice")
    store.put(archive)
    # Of the same size: only somebody who wrote it again could have mended it.
    server.write(f"twice/{archive.hash}.zip", b"x" * archive.size)
    before = store.list()
    store.put(archive)
    assert store.list() == before
    store.delete(archive.hash)
    store.put(archive)
    assert len(store.list()) == 1


def test_a_list_of_many_pages(server: S3Server, tmp_path: Path) -> None:
    store = store_of(server, "many pages é")
    archives = {packed(tmp_path, number=number) for number in range(7)}
    for one in archives:
        store.put(one)
    server.write("many pages é/notes.txt", b"")
    server.write(f"many pages é/deeper/{'0' * 64}.zip", b"")
    server.write(f"many pages {'0' * 64}.zip", b"")
    found = store.list()
    assert {one.hash for one in found} == {one.hash for one in archives}
    assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)
    assert store_of(server, "none here").list() == []


def test_a_damaged_object_is_not_handed_out(
    server: S3Server, archive: Archive, tmp_path: Path
) -> None:
    store = store_of(server, "damaged")
    store.put(archive)
    content = bytearray(archive.path.read_bytes())
    content[-1] ^= 1
    server.write(f"damaged/{archive.hash}.zip", bytes(content))
    with pytest.raises(RefusedError, match="damaged"):
        store.get(archive.hash, tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


def test_an_archive_that_is_not_there(server: S3Server, archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(ArchiveMissingError, match=archive.hash):
        store_of(server, "empty").get(archive.hash, tmp_path / "into")


def test_an_archive_of_many_megabytes(server: S3Server, tmp_path: Path) -> None:
    archive = packed(tmp_path, {"jobs/data.bin": random.Random(1).randbytes(20_000_000)})
    store = store_of(server, "large")
    store.put(archive)
    got = store.get(archive.hash, tmp_path / "into")
    assert got.stat().st_size == archive.size > 19_000_000


Wrong = Callable[[S3Server], S3Access]


@pytest.mark.parametrize(("wrong", "words"), [
    (lambda server: replace(server.access, secret=SecretStr("wrong" * 8)), "SignatureDoesNotMatch"),
    (lambda server: replace(server.access, key="AKIAUNKNOWNUNKNOWN00"), "InvalidAccessKeyId"),
    (lambda server: server.stranger, "AccessDenied"),
])
def test_whoever_may_not_is_refused(
    server: S3Server, archive: Archive, tmp_path: Path, wrong: Wrong, words: str
) -> None:
    store_of(server, "mine").put(archive)
    access = wrong(server)
    store = store_of(server, "mine", access)
    works: list[Callable[[], object]] = [
        store.list, lambda: store.get(archive.hash, tmp_path / "into"),
    ]
    for work in works:
        with pytest.raises(StoreAccessError, match=words) as error:
            work()
        told = f"{error.value.message} {error.value.hint}"
        assert access.secret.get_secret_value() not in told
        assert access.key not in told
    # Without a body there is no code: the status has to do.
    for work in (lambda: store.has(archive.hash), lambda: store.put(archive)):
        with pytest.raises(StoreAccessError, match="403"):
            work()
    with pytest.raises(StoreAccessError):
        store.delete(archive.hash)
    assert store_of(server, "mine").has(archive.hash)


def test_a_bucket_that_is_not_there(server: S3Server, archive: Archive) -> None:
    store = S3Store("no-such-bucket", "", server.access, pause=lambda _: None)
    for work in (store.list, lambda: store.put(archive)):
        with pytest.raises(SluiceError, match="NoSuchBucket") as error:
            work()
        assert "SLUICE_ARCHIVE_STORE" in error.value.hint


def test_a_store_that_is_away(archive: Archive, tmp_path: Path) -> None:
    with s3_server(tmp_path / "log") as server:
        store = store_of(server, "away")
        store.put(archive)
        got = store.get(archive.hash, tmp_path / "into")
        server.stop()
        works: list[Callable[[], object]] = [
            store.list, lambda: store.put(archive), lambda: store.has(archive.hash),
            lambda: store.get(archive.hash, tmp_path / "other"),
        ]
        for work in works:
            with pytest.raises(StoreAwayError, match="tried 4 times"):
                work()
        # What was fetched once serves without it.
        assert store.get(archive.hash, tmp_path / "into") == got
    assert not (tmp_path / "other").exists()
