"""Run pytest, and take the test stacks down whatever happens to it."""

import signal
import subprocess
import sys
from types import FrameType

from tests.kit.stack import TEST_HOMES, TestStack

_INTERRUPT_SECONDS = 60


def main(arguments: list[str]) -> int:
    """Run pytest on these arguments; return its exit code."""
    clean_up()
    tests = subprocess.Popen([sys.executable, "-m", "pytest", *arguments])

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        # pytest ends its fixtures on SIGINT, which stop the servers; it does not on SIGTERM.
        tests.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, pass_on)
    try:
        return tests.wait()
    except KeyboardInterrupt:
        # The terminal has sent it to pytest as well.
        tests.wait(_INTERRUPT_SECONDS)
        return 1
    finally:
        clean_up()


def clean_up() -> None:
    """Stop and delete what an earlier run left behind, killed perhaps."""
    if TEST_HOMES.is_dir():
        for home in sorted(TEST_HOMES.iterdir()):
            if (home / "stack.json").exists():
                TestStack(home).destroy()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
