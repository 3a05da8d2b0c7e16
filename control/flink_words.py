"""The one line of a Java stack, or of a Python traceback inside it, that says why."""

import re

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r"\s*(at [\w.$/<>]+\(|\.\.\. \d+ more|Caused by: |End of exception)")
_JAVA = re.compile(r"[\w.$]+\.[\w$]*(Exception|Error)\b|[\w$]+(\.[\w$]+)+: ")
_LONGEST = 400


def reason(text: str) -> str:
    """Return the line that says why; an empty text where there is none."""
    found = _of_python(text) or _of_java(text)
    return found[:_LONGEST]


def _of_python(text: str) -> str:
    _, mark, rest = text.rpartition(_TRACEBACK)
    if not mark:
        return ""
    said = ""
    for line in rest.splitlines():
        if _FRAME.match(line) and not line.startswith("  File"):
            break
        # Python's own last word stands at the beginning of a line, what led to it is indented.
        if line and not line[0].isspace():
            said = line.strip()
    return said


def _of_java(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    # Indented are the causes of what was suppressed on the way.
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    if causes:
        return causes[-1].strip()
    words = [line.strip().removeprefix("<Exception on server side:").strip() for line in lines
             if not _FRAME.match(line)]
    plain = [line for line in words if line and line[0] != "<"]
    # Flink's own "Internal server error." tells less than the exception after it.
    return next((line for line in plain if _JAVA.match(line)), plain[0] if plain else "")
