"""Which migrations are read from a folder, and which of them are still to be applied."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.db.migrations import (
    FOLDER,
    Applied,
    Branch,
    Migration,
    _open,
    read_migrations,
)
from control.errors import RefusedError, SluiceError

ONE = Migration(1, "0001_one.sql", "SELECT 1")
TWO = Migration(2, "0002_two.sql", "SELECT 2")
THREE = Migration(3, "0003_three.sql", "SELECT 3")


def applied(migration: Migration, state: str = "applied") -> Applied:
    return Applied(
        migration.number, migration.file, migration.checksum, state, "2026-01-02T03:04:05+00:00"
    )


def folder_of(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text(f"-- {name}")
    return folder


def read(folder: Path, branch: Branch = Branch.PLAIN) -> list[str]:
    return [migration.file for migration in read_migrations(branch, folder)]


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder_of(tmp_path, "0010_ten.sql", "0002_two.sql", "0001_one.sql")
    found = read_migrations(Branch.PLAIN, tmp_path)
    assert [(migration.number, migration.file, migration.sql) for migration in found] == [
        (1, "0001_one.sql", "-- 0001_one.sql"),
        (2, "0002_two.sql", "-- 0002_two.sql"),
        (10, "0010_ten.sql", "-- 0010_ten.sql"),
    ]


def test_each_server_gets_the_files_of_its_branch(tmp_path: Path) -> None:
    folder_of(
        tmp_path, "0001_both.sql", "0002_differs.plain.sql", "0002_differs.timescale.sql",
        "0003_only.timescale.sql",
    )
    assert read(tmp_path, Branch.PLAIN) == ["0001_both.sql", "0002_differs.plain.sql"]
    assert read(tmp_path, Branch.TIMESCALE) == [
        "0001_both.sql", "0002_differs.timescale.sql", "0003_only.timescale.sql"
    ]


@pytest.mark.parametrize("name", [
    "1_short.sql", "00001_long.sql", "0001.sql", "0001_.sql", "0001_Upper.sql", "0001-dash.sql",
    "0001_a.oracle.sql", "notes.sql", "0001_a.plain.timescale.sql",
])
def test_a_name_that_does_not_fit_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SluiceError, match=f"{name} is not a migration's name") as caught:
        read(folder_of(tmp_path, name))
    assert "NNNN_name.sql" in caught.value.hint


def test_a_number_given_twice_names_both_files(tmp_path: Path) -> None:
    folder_of(tmp_path, "0001_a.sql", "0001_b.sql")
    with pytest.raises(SluiceError, match=r"number 1: 0001_a\.sql, 0001_b\.sql"):
        read(tmp_path)


def test_a_file_for_both_and_one_for_a_branch_are_two(tmp_path: Path) -> None:
    folder_of(tmp_path, "0001_a.sql", "0001_a.timescale.sql")
    with pytest.raises(SluiceError, match="number 1"):
        read(tmp_path, Branch.TIMESCALE)


def test_other_files_are_no_migrations(tmp_path: Path) -> None:
    assert read(folder_of(tmp_path, "README.md", "0001_a.sql.swp")) == []


@pytest.mark.parametrize("branch", list(Branch))
def test_the_real_files_are_well_formed(branch: Branch) -> None:
    numbers = [migration.number for migration in read_migrations(branch, FOLDER)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_checksum_tells_any_edit() -> None:
    assert ONE.checksum == replace(ONE, file="0001_other.sql").checksum
    assert ONE.checksum != replace(ONE, sql="SELECT 1 ").checksum


def test_a_file_runs_in_a_transaction_unless_it_begins_otherwise() -> None:
    assert ONE.in_transaction
    outside = "-- sluice: no-transaction\n"
    assert not replace(ONE, sql=f"{outside}VACUUM").in_transaction
    assert replace(ONE, sql=f"SELECT 1;\n{outside}").in_transaction


def test_on_an_empty_database_all_are_open() -> None:
    assert _open([ONE, TWO], []) == [ONE, TWO]


def test_only_those_after_the_last_applied_are_open() -> None:
    assert _open([ONE, TWO, THREE], [applied(ONE)]) == [TWO, THREE]
    assert _open([ONE, TWO], [applied(ONE), applied(TWO)]) == []


def test_a_file_edited_after_it_was_applied_is_refused() -> None:
    edited = replace(ONE, sql="SELECT 'other'")
    with pytest.raises(RefusedError, match=r"0001_one\.sql was edited .* 2026-01-02") as caught:
        _open([edited, TWO], [applied(ONE)])
    assert "new file" in caught.value.hint


def test_a_renamed_file_with_the_same_content_is_accepted() -> None:
    assert _open([replace(ONE, file="0001_better.sql")], [applied(ONE)]) == []


def test_a_database_that_is_ahead_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"0002_two\.sql, which is not here: it is ahead"):
        _open([ONE], [applied(ONE), applied(TWO)])


def test_a_number_below_the_newest_applied_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"0002_two\.sql comes before 0003"):
        _open([ONE, TWO, THREE], [applied(ONE), applied(THREE)])


def test_one_that_was_killed_while_running_is_applied_again() -> None:
    assert _open([ONE, TWO, THREE], [applied(ONE), applied(TWO, "running")]) == [TWO, THREE]


def test_one_that_failed_may_be_mended_before_it_is_applied_again() -> None:
    mended = replace(TWO, sql="SELECT 'mended'")
    assert _open([ONE, mended], [applied(ONE), applied(TWO, "running")]) == [mended]


def test_a_running_one_whose_file_is_gone_is_refused() -> None:
    with pytest.raises(RefusedError, match="ahead"):
        _open([ONE], [applied(ONE), applied(TWO, "running")])


@given(total=st.integers(0, 8), done=st.integers(0, 8))
def test_what_is_done_and_what_is_open_are_all_there_is(total: int, done: int) -> None:
    numbers = range(1, total + 1)
    files = [Migration(number, f"{number:04d}_x.sql", str(number)) for number in numbers]
    finished = files[:done]
    assert finished + _open(files, [applied(migration) for migration in finished]) == files
