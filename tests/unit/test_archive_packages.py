"""Which files of installed packages get into an archive."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from control.archive.pack import pack
from control.archive.packages import packages
from control.archive.source import SourceTree
from control.archive.unpack import unpack
from control.errors import RefusedError
from tests.unit.archive_kit import CODE, child, write

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what installs a made-up package, as pip would."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def make(
        name: str, *requires: str, files: Mapping[str, str | bytes] | None = None,
        folder: Path = site, **info: str,
    ) -> Path:
        module = name.replace("-", "_")
        notes = f"{module}-1.0.dist-info"
        lines = [f"Requires-Dist: {text}" for text in requires]
        content: dict[str, str | bytes] = {
            f"{module}/__init__.py": f"# {name}\n",
            f"{module}/__pycache__/__init__.cpython-311.pyc": "",
            f"{notes}/METADATA": "\n".join(
                ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines, ""]
            ),
            f"{notes}/WHEEL": "Wheel-Version: 1.0\n", f"{notes}/INSTALLER": "pip\n",
            f"{notes}/REQUESTED": "", **(files or {}),
            **{f"{notes}/{key}": text for key, text in info.items()},
        }
        write(folder, content)
        names = [*content, f"{notes}/RECORD", f"../../bin/{name}"]
        write(folder, {f"{notes}/RECORD": "".join(f'"{one}",,\n' for one in names)})
        return folder

    return make


def of(name: str) -> set[str]:
    notes = f"{name}-1.0.dist-info"
    return {f"{name}/__init__.py", f"{notes}/METADATA", f"{notes}/WHEEL"}


def test_a_package_comes_without_what_its_installer_noted(install: Install) -> None:
    site = install("alpha", files={"alpha/_fast.cpython-311-x86_64-linux-gnu.so": b"\x7fELF",
                                   "alpha/data/names.txt": "a", "alpha/INSTALLER": "theirs"})
    found = packages(["alpha"])
    assert set(found) == of("alpha") | {
        "alpha/_fast.cpython-311-x86_64-linux-gnu.so", "alpha/data/names.txt", "alpha/INSTALLER",
    }
    assert found["alpha/data/names.txt"] == site / "alpha/data/names.txt"


def test_all_that_is_required_comes_too(install: Install) -> None:
    install("alpha", "beta>=1", "Gamma_Ray (<2)")
    install("beta", "delta")
    install("gamma-ray", "alpha")
    install("delta")
    install("epsilon")
    expected = of("alpha") | of("beta") | of("delta") | of("gamma_ray")
    assert set(packages(["alpha"])) == expected
    assert set(packages(["Alpha", "beta"])) == expected


def test_markers_and_extras_are_minded(install: Install) -> None:
    install(
        "alpha", 'gone; python_version < "3"', 'gone; sys_platform == "win32"',
        'beta; python_version >= "3" and extra == "fast"', 'gamma; extra == "slow"', "delta[x]",
    )
    install("beta", 'epsilon; extra == "x"')
    install("gamma")
    install("delta", 'zeta; extra == "x"', 'alpha[fast]; extra == "x"')
    install("epsilon")
    install("zeta")
    # delta asks for an extra of alpha, which was looked at without it before.
    assert set(packages(["alpha"])) == of("alpha") | of("beta") | of("delta") | of("zeta")
    assert set(packages(["alpha[slow]"])) - set(packages(["alpha"])) == of("gamma")


def test_a_missing_package_is_named_with_who_wants_it(install: Install) -> None:
    install("alpha", "no-such-package>1")
    with pytest.raises(RefusedError, match="no-such-package, which alpha requires") as error:
        packages(["alpha"])
    assert "runtime.txt" in error.value.hint
    with pytest.raises(RefusedError, match="nothing-here, which the job requires"):
        packages(["nothing-here"])


@pytest.mark.parametrize("name", ["", "two words", "../x", "a>b"])
def test_what_names_no_package_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="names no package"):
        packages([name])


def test_a_package_installed_by_reference_is_refused(install: Install) -> None:
    origin = {"url": "file:///somewhere", "dir_info": {"editable": True}}
    install("alpha", **{"direct_url.json": json.dumps(origin)})
    with pytest.raises(RefusedError, match="alpha is installed by reference"):
        packages(["alpha"])


def test_a_package_from_a_folder_is_taken_without_the_folders_name(install: Install) -> None:
    install("alpha", **{"direct_url.json": json.dumps({"url": "file:///x", "dir_info": {}})})
    assert set(packages(["alpha"])) == of("alpha")


def test_a_package_without_a_list_of_files_is_refused(install: Install) -> None:
    (install("alpha") / "alpha-1.0.dist-info/RECORD").unlink()
    with pytest.raises(RefusedError, match="without a list of its files"):
        packages(["alpha"])


def test_a_package_that_lost_a_file_is_refused(install: Install) -> None:
    (install("alpha") / "alpha/__init__.py").unlink()
    with pytest.raises(RefusedError, match=r"alpha is damaged: .*__init__\.py is missing"):
        packages(["alpha"])


def test_packages_that_share_a_file_have_it_once(install: Install) -> None:
    install("alpha", files={"shared/__init__.py": ""})
    site = install("beta", files={"shared/__init__.py": ""})
    assert packages(["beta", "alpha"])["shared/__init__.py"] == site / "shared/__init__.py"


def test_the_same_packages_elsewhere_give_the_same_archive(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = SourceTree(write(tmp_path / "tree", CODE))

    def built(folder: Path, installer: str, tops: list[str]) -> str:
        with monkeypatch.context() as patch:
            folder.mkdir()
            patch.syspath_prepend(str(folder))
            install("alpha", "beta", folder=folder, INSTALLER=installer)
            install("beta", folder=folder, files={"beta/_x.so": b"\0" * 99})
            (folder / "beta/_x.so").chmod(0o755)
            os.utime(folder / "alpha/__init__.py", (1, 1))
            archive = pack(tree, tmp_path / "out", {}, tops)
            inside = unpack(archive, tmp_path / "cache") / "packages"
            assert (inside / "beta/_x.so").stat().st_mode & 0o777 == 0o755
            assert not [path for path in inside.rglob("*") if path.suffix == ".pyc"]
            return archive.hash

    one = built(tmp_path / "one", "pip", ["alpha"])
    assert built(tmp_path / "two", "uv", ["beta", "alpha"]) == one
    assert pack(tree, tmp_path / "out", {}).hash != one


def test_an_installed_package_with_a_binary_module_can_be_imported_from_an_archive(
    tmp_path: Path,
) -> None:
    tree = SourceTree(write(tmp_path / "tree", CODE))
    archive = pack(tree, tmp_path / "out", {}, ["orjson", "fastavro"])
    inside = unpack(archive, tmp_path / "cache") / "packages"
    code = (
        "import orjson, fastavro, importlib.metadata as m;"
        " print(orjson.__file__, fastavro.__file__, m.version('orjson'))"
    )
    # What is on PYTHONPATH comes before the packages of this environment.
    told = child(code, PYTHONPATH=str(inside))
    words = told.communicate(timeout=60)[0].decode().split()
    assert words[0].startswith(f"{inside}/orjson/")
    assert words[1].startswith(f"{inside}/fastavro/")
    assert told.returncode == 0
