"""Run pytest, and take the test stacks down whatever happens to it."""

import fcntl
import signal
import subprocess
import sys
from types import FrameType

from tests.kit.stack import TEST_HOMES, TestStack

_INTERRUPT_SECONDS = 60


def main(arguments: list[str]) -> int:
    """Run pytest on these arguments; a second run in this checkout is refused."""
    TEST_HOMES.mkdir(parents=True, exist_ok=True)
    with (TEST_HOMES / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Tests with servers run here already: wait for them, or use another checkout.",
                  file=sys.stderr)
            return 3
        return _run(arguments)


def _run(arguments: list[str]) -> int:
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
