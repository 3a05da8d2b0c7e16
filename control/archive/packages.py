"""The files of installed Python packages, with all the packages that they require."""

import json
import posixpath
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from control.errors import RefusedError

# Where they lie in an archive.
PACKAGES = "packages"

# What an installer notes about itself: it differs where the packages do not.
_NOTES = frozenset({
    "RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json",
    "uv_cache.json",
})
_HINT = "Install what locks/runtime.txt says, for example by `make install`."


def packages(names: Iterable[str]) -> dict[str, Path]:
    """Return the files of distributions and of what they require, by their place among packages.

    A name may ask for extras, as requirements do: `psycopg[binary]`.
    """
    found: dict[str, Path] = {}
    for _, installed in sorted(_closure(names).items()):
        for place, path in _files(installed):
            # Two may share a file, such as the __init__ of a namespace: it is the same one.
            found.setdefault(place, path)
    return found


def _closure(names: Iterable[str]) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    done: set[tuple[str, str]] = set()
    waiting = [(_requirement(name, "the job"), "the job") for name in names]
    while waiting:
        wanted, wanted_by = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name not in found:
            found[name] = _installed(wanted.name, wanted_by)
        # What a package requires depends on the extra: each is looked at once.
        for extra in {"", *wanted.extras} - {extra for other, extra in done if other == name}:
            done.add((name, extra))
            waiting += [
                (requirement, name) for requirement in _requirements(found[name], name)
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
            ]
    return found


def _requirements(installed: Distribution, name: str) -> list[Requirement]:
    return [_requirement(text, name) for text in installed.requires or ()]


def _requirement(text: str, wanted_by: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        message = f"{wanted_by} requires {text!r}, which names no package: {error}."
        raise RefusedError(message, "A package is a name, with extras perhaps: name[extra].") \
            from error


def _installed(name: str, wanted_by: str) -> Distribution:
    try:
        found = distribution(name)
    except PackageNotFoundError as error:
        message = f"The Python package {name}, which {wanted_by} requires, is not installed."
        raise RefusedError(message, _HINT) from error
    if _is_editable(found):
        message = f"The Python package {name} is installed by reference: its code is not here."
        raise RefusedError(message, f"Install a released version of {name} instead.")
    if found.read_text("RECORD") is None:
        message = f"The Python package {name} was installed without a list of its files."
        raise RefusedError(message, f"Install {name} by pip, from a wheel.")
    return found


def _is_editable(found: Distribution) -> bool:
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def _files(installed: Distribution) -> Iterator[tuple[str, Path]]:
    for listed in installed.files or ():
        place = posixpath.normpath(listed.as_posix())
        parts = place.split("/")
        # Beside the packages lie scripts, which name this machine's Python.
        outside = place.startswith(("../", "/"))
        note = len(parts) > 1 and parts[-2].endswith(".dist-info") and parts[-1] in _NOTES
        if outside or note or "__pycache__" in parts:
            continue
        path = Path(str(installed.locate_file(listed)))
        if not path.is_file():
            message = f"The Python package {installed.name} is damaged: {path} is missing."
            raise RefusedError(message, _HINT)
        yield place, path
