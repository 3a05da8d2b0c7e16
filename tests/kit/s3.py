"""A server that speaks S3 and checks signatures, for as long as a test needs it."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from control.archive.s3_access import S3Access
from tests.kit.wait import wait_until

_START_SECONDS = 60
_STOP_SECONDS = 10

# It ends with its standard input: also when whoever started it is killed.
_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

_MAY = (
    '{"Version": "2012-10-17", "Statement":'
    ' [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}]}'
)


def _unsigned(service: str) -> dict[str, str]:
    """Return what says which service is meant, where no signature is checked."""
    scope = f"20260101/us-east-1/{service}/aws4_request"
    return {
        "authorization":
            f"AWS4-HMAC-SHA256 Credential=x/{scope}, SignedHeaders=host, Signature=x"
    }


class S3Server:
    """A server that runs, with one bucket, and a user who may use it."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, bucket: str) -> None:
        self.process = process
        self.url = url
        self.bucket = bucket
        self.access = S3Access(url, "us-east-1", "", SecretStr(""))

    def prepare(self) -> None:
        """Make the bucket and two users: the second one may do nothing."""
        self._check_signatures(False)
        httpx.put(f"{self.url}/{self.bucket}").raise_for_status()
        self.access = self._make_user("worker")
        self._iam(Action="PutUserPolicy", UserName="worker", PolicyName="s3", PolicyDocument=_MAY)
        self.stranger = self._make_user("stranger")
        self._check_signatures(True)

    def write(self, key: str, content: bytes) -> None:
        """Put an object there as somebody who goes around us would."""
        self._check_signatures(False)
        httpx.put(
            f"{self.url}/{self.bucket}/{quote(key)}", content=content, headers=_unsigned("s3")
        ).raise_for_status()
        self._check_signatures(True)

    def names(self) -> list[str]:
        """Return the names of all objects."""
        self._check_signatures(False)
        answer = httpx.get(f"{self.url}/{self.bucket}?list-type=2").raise_for_status()
        self._check_signatures(True)
        found = ET.fromstring(answer.content).iterfind("{*}Contents/{*}Key")  # noqa: S314
        return [key.text or "" for key in found]

    def stop(self) -> None:
        """End the server."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _make_user(self, name: str) -> S3Access:
        self._iam(Action="CreateUser", UserName=name)
        root = self._iam(Action="CreateAccessKey", UserName=name)
        key, secret = (
            root.findtext(f".//{{*}}{tag}") or "" for tag in ("AccessKeyId", "SecretAccessKey")
        )
        return S3Access(self.url, "us-east-1", key, SecretStr(secret))

    def _iam(self, **values: str) -> ET.Element:
        data = {"Version": "2010-05-08", **values}
        answer = httpx.post(self.url, data=data, headers=_unsigned("iam"))
        return ET.fromstring(answer.raise_for_status().content)  # noqa: S314

    def _check_signatures(self, wanted: bool) -> None:
        # From which request on; by itself it never does.
        count = "0" if wanted else "inf"
        httpx.post(f"{self.url}/moto-api/reset-auth", content=count).raise_for_status()


@contextmanager
def s3_server(log: Path, bucket: str = "archives") -> Iterator[S3Server]:
    """Yield a server; it is gone afterwards."""
    with log.open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=words, env={**os.environ, "MOTO_ACCOUNT_ID": "123456789012"},
        )
    server = S3Server(process, "", bucket)
    try:
        line = process.stdout.readline() if process.stdout is not None else b""
        if not line:
            message = f"the server of S3 did not start: {log.read_text()[-2000:]}"
            raise AssertionError(message)
        server.url = f"http://127.0.0.1:{int(line)}"
        wait_until("the server of S3 answers", lambda: _answers(server.url), _START_SECONDS)
        server.prepare()
        yield server
    finally:
        server.stop()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/moto-api/data.json").is_success
    except httpx.TransportError:
        return False
