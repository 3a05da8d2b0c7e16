"""Signature Version 4 against Amazon's own published examples."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from control.archive.s3_access import S3Access, checked_access, locate
from control.archive.s3_signing import EMPTY_HASH, encoded, encoded_query, signed
from control.errors import MisuseError

# From the documentation of S3, "Signature Calculations for the Authorization Header".
EXAMPLE = S3Access(
    "", "us-east-1", "AKIAIOSFODNN7EXAMPLE",
    SecretStr("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
)
HOST = {"Host": "examplebucket.s3.amazonaws.com"}
AT = datetime(2013, 5, 24, tzinfo=UTC)


def signature(
    method: str, path: str, query: dict[str, str], headers: dict[str, str],
    payload: bytes = b"", at: datetime = AT,
) -> tuple[str, str]:
    """Return the names of the signed headers and the signature."""
    hashed = hashlib.sha256(payload).hexdigest()
    found = signed(
        EXAMPLE, method, encoded(path, keep="/"), encoded_query(query), HOST | headers, hashed, at
    )["authorization"]
    start, names, result = found.split(", ")
    assert start == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
    )
    return names.removeprefix("SignedHeaders="), result.removeprefix("Signature=")


def test_the_example_of_getting_an_object() -> None:
    assert signature("GET", "/test.txt", {}, {"Range": "bytes=0-9"}) == (
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    )


def test_the_example_of_putting_an_object() -> None:
    headers = {
        "Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    assert signature("PUT", "/test$file.text", {}, headers, b"Welcome to Amazon S3.") == (
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    )


def test_the_example_of_a_query_without_a_value() -> None:
    assert signature("GET", "/", {"lifecycle": ""}, {}) == (
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    )


def test_the_example_of_listing_objects() -> None:
    assert signature("GET", "/", {"prefix": "J", "max-keys": "2"}, {}) == (
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    )


def test_the_zone_of_the_clock_does_not_matter() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=-7)))
    assert signature("GET", "/a", {}, {}, at=elsewhere) == signature("GET", "/a", {}, {})


def test_spaces_in_a_header_count_once() -> None:
    loose, tight = ({"x-amz-meta-a": text} for text in ("  a   b ", "a b"))
    assert signature("GET", "/", {}, loose) == signature("GET", "/", {}, tight)


def test_the_hash_of_nothing() -> None:
    assert EMPTY_HASH == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("text", "expected"), [
    ("a b", "a%20b"), ("é", "%C3%A9"), ("a/b", "a%2Fb"), ("a+b=c&d", "a%2Bb%3Dc%26d"),
    ("A-Z_0.9~", "A-Z_0.9~"), ("100%", "100%25"), ("(*)'!", "%28%2A%29%27%21"),
])
def test_names_are_encoded_as_amazon_does(text: str, expected: str) -> None:
    assert encoded(text) == expected


def test_a_query_is_sorted_by_what_is_sent() -> None:
    assert encoded_query({"b": "2", "a b": "é", "a": "", "A": "1"}) == "A=1&a=&a%20b=%C3%A9&b=2"


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda text: not {".", ".."} & set(text.split("/"))
))
def test_the_client_sends_a_name_as_it_was_signed(name: str) -> None:
    path, query = f"/bucket/{encoded(name, keep='/')}", encoded_query({"prefix": name})
    url = httpx.URL(f"http://127.0.0.1:9{path}?{query}")
    assert url.raw_path == f"{path}?{query}".encode()


def test_the_key_and_the_secret_are_not_shown() -> None:
    shown = repr(EXAMPLE) + str(EXAMPLE)
    assert "AKIA" not in shown
    assert "wJalr" not in shown


def access(**values: str) -> S3Access:
    every = {"endpoint": "", "region": "eu-west-1", "key": "k", "secret": "s", **values}
    return S3Access(secret=SecretStr(every.pop("secret")), **every)


@pytest.mark.parametrize(("given_access", "setting"), [
    (None, "SLUICE_S3_KEY"), (access(key=""), "SLUICE_S3_KEY"),
    (access(secret=""), "SLUICE_S3_SECRET"), (access(key="key\n"), "SLUICE_S3_KEY"),
    (access(secret="two words"), "SLUICE_S3_SECRET"),
    (access(region="x\r\nhost: y"), "SLUICE_S3_REGION"),
])
def test_an_access_that_cannot_be_right_is_refused(
    given_access: S3Access | None, setting: str
) -> None:
    with pytest.raises(MisuseError) as error:
        checked_access(given_access)
    told = error.value.message + error.value.hint
    assert setting in told
    assert "two words" not in told


@pytest.mark.parametrize(("endpoint", "region", "bucket", "host", "root"), [
    ("", "eu-west-1", "jobs", "jobs.s3.eu-west-1.amazonaws.com", ""),
    ("", "cn-north-1", "jobs", "jobs.s3.cn-north-1.amazonaws.com.cn", ""),
    ("", "eu-west-1", "my.jobs", "s3.eu-west-1.amazonaws.com", "/my.jobs"),
    ("http://127.0.0.1:9000", "x", "jobs", "127.0.0.1:9000", "/jobs"),
    ("http://127.0.0.1:9000/", "x", "jobs", "127.0.0.1:9000", "/jobs"),
    ("https://store.example.org:443/a%20b/", "x", "jobs", "store.example.org", "/a%20b/jobs"),
    ("http://[::1]:9000", "x", "jobs", "[::1]:9000", "/jobs"),
])
def test_where_a_bucket_is(
    endpoint: str, region: str, bucket: str, host: str, root: str
) -> None:
    base, path = locate(access(endpoint=endpoint, region=region), bucket)
    assert (base.netloc.decode(), path) == (host, root)


@pytest.mark.parametrize("endpoint", [
    "store.example.org", "ftp://store", "http://", "http://me:word@store", "http://store/?a=1",
    "http://store:port", "http://store/#a",
])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(MisuseError, match="SLUICE_S3_ENDPOINT") as error:
        locate(access(endpoint=endpoint), "jobs")
    assert "word" not in error.value.message + error.value.hint
