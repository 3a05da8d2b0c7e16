"""Run pytest, and take the test stacks down whatever happens to it."""

import fcntl
import signal
import subprocess
import sys
from types import FrameType

from tests.kit.stack import TEST_HOMES, TestStack


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
    started: list[subprocess.Popen[bytes]] = []

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        for tests in started:
            tests.send_signal(signal.SIGINT)

    # Before the start: where signals are ignored (a shell's background), pytest would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    # In a session of its own: a Ctrl-C reaches us alone, and pytest gets exactly one. A second one
    # would end the fixtures that stop the servers.
    tests = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], start_new_session=True)
    started.append(tests)
    try:
        return tests.wait()
    finally:
        clean_up()


def clean_up() -> None:
    """Stop and delete what an earlier run left behind, killed perhaps."""
    if TEST_HOMES.is_dir():
        for home in sorted(TEST_HOMES.iterdir()):
            if home.is_dir():
                TestStack(home).destroy()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
