"""Every element of every contract has a row, and every row a test that exists."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.conftest import ROOT
from tests.contracts.tables import KINDS, Row, Table, names_of_tests, tables

TABLES = tables()
ROWS = [(table, row) for table in TABLES for row in table.rows]


def test_there_are_tables() -> None:
    assert {table.seed for table in TABLES} >= {"000", "001", "002", "003", "004", "openai"}


@pytest.mark.parametrize(("table", "row"), ROWS, ids=[f"{table.seed} {row.element}" for table, row in ROWS])
def test_a_row_names_a_test_that_exists(table: Table, row: Row) -> None:
    path, _, name = row.test.partition("::")
    assert name in names_of_tests(path)
    assert row.kind in KINDS
    assert row.documented.strip()
    assert row.answered.strip()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.seed)
def test_no_element_has_two_rows(table: Table) -> None:
    counted = Counter((row.kind, row.element) for row in table.rows)
    assert [element for element, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.seed)
def test_a_difference_says_why(table: Table) -> None:
    assert [row.element for row in table.rows if row.answered != row.documented and not row.note] == []


def test_every_table_can_be_printed() -> None:
    said = subprocess.run([sys.executable, "-m", "tests.contracts"], cwd=ROOT, capture_output=True, check=True).stdout
    words = said.decode()
    assert all(f"{table.seed}: {table.title}" in words for table in TABLES)
