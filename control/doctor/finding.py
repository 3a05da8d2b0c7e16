"""What a check says."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table."""

    check: str
    verdict: Verdict
    detail: str
    # The command or setting that mends it; empty where nothing is to be mended.
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the fields for `--json`."""
        return {
            "check": self.check, "verdict": self.verdict.value, "detail": self.detail,
            "remedy": self.remedy,
        }


def good(check: str, detail: str) -> Finding:
    """Say that all is well."""
    return Finding(check, Verdict.OK, detail)


def bad(check: str, detail: str, remedy: str) -> Finding:
    """Say what is broken and what mends it."""
    return Finding(check, Verdict.FAILED, detail, remedy)


def warn(check: str, detail: str, remedy: str) -> Finding:
    """Say what will hurt some day."""
    return Finding(check, Verdict.WARNING, detail, remedy)


def skipped(check: str, detail: str) -> Finding:
    """Say why a check could not be made."""
    return Finding(check, Verdict.SKIPPED, detail)
