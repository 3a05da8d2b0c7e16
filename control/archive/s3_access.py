"""Where S3 is and as whom to speak to it."""

import re
from dataclasses import dataclass, field, replace

import httpx
from pydantic import SecretStr

from control.errors import MisuseError

# Where a store of one's own was given no region; most expect this one then.
_DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"[A-Za-z0-9._-]+")
# A line break at the end comes from a file that a secret was read from.
_PLAIN = re.compile(r"[!-~]+")
# A bucket whose name can stand in a host's name: a certificate covers one part without dots.
_HOST_PART = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class S3Access:
    """Where S3 is and as whom to speak to it."""

    # Empty: Amazon's own.
    endpoint: str
    region: str
    # Not secret, but people swap the two.
    key: str = field(repr=False)
    secret: SecretStr


def checked_access(access: S3Access | None) -> S3Access:
    """Return an access that is complete."""
    if access is None or not access.key or not access.secret.get_secret_value():
        message = "The archives are in S3, and nobody said as whom to ask for them."
        raise MisuseError(message, "Set SLUICE_S3_KEY and SLUICE_S3_SECRET.")
    values = {"SLUICE_S3_KEY": access.key, "SLUICE_S3_SECRET": access.secret.get_secret_value()}
    for setting, value in values.items():
        if _PLAIN.fullmatch(value) is None:
            message = f"{setting} has a space, a line break or a letter that none of its kind has."
            raise MisuseError(message, f"Set {setting} anew.")
    region = access.region or _DEFAULT_REGION
    if _REGION.fullmatch(region) is None:
        message = f"{region!r} is no region."
        raise MisuseError(message, "Mend SLUICE_S3_REGION.")
    return replace(access, region=region)


def locate(access: S3Access, bucket: str) -> tuple[httpx.URL, str]:
    """Return the address of the host that has a bucket, and the bucket's path there."""
    if access.endpoint:
        base = _endpoint(access.endpoint)
        return base, f"{base.raw_path.decode().rstrip('/')}/{bucket}"
    domain = "amazonaws.com.cn" if access.region.startswith("cn-") else "amazonaws.com"
    if _HOST_PART.fullmatch(bucket):
        return httpx.URL(f"https://{bucket}.s3.{access.region}.{domain}"), ""
    return httpx.URL(f"https://s3.{access.region}.{domain}"), f"/{bucket}"


def _endpoint(address: str) -> httpx.URL:
    message = "SLUICE_S3_ENDPOINT is no address of a store."
    hint = "It is http:// or https://, a host, and a port where it is not the usual one."
    try:
        base = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise MisuseError(message, hint) from error
    # A name and a password there would be sent instead of the signature.
    if base.scheme not in {"http", "https"} or not base.host or base.userinfo or base.query \
            or base.fragment:
        raise MisuseError(message, hint)
    return base
