"""Invoices and statements by the command line: listed, made, written to files, refused with a reason."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from farebox.billing.periods import Calendar
from tests.support.process import cli, new_key

pytestmark = pytest.mark.process

CONFIG = """
[wallet]
currency = "INR"
time_zone = "Asia/Kolkata"

[payments]
tax_rate_basis_points = 1800
tax_name = "GST"

[invoices]
seller = "Acme Private Limited"
"""
TOP_UP = (
    "INSERT INTO topups (id, account_id, processor, processor_ref, status, credit, tax, total, currency, tax_name,"
    " return_url, paid, created, updated)"
    " VALUES ('t1', 1, 'manual', 'ref', 'paid', 100000000000, 18000000000, 118000000000, 'INR', 'GST', '', 1, 1, 1)"
)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its configuration and books, in which one top-up was paid before there were invoices."""
    folder = tmp_path_factory.mktemp("office")
    (folder / "farebox.toml").write_text(CONFIG)
    new_key(folder / "data", "acme", "--credit", "5", config=folder / "farebox.toml")
    with closing(sqlite3.connect(folder / "data" / "farebox.db")) as books, books:
        books.execute(TOP_UP)
    run(folder, "invoices", "make")
    return folder


def told(office: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return cli(*arguments, data=office / "data", config=office / "farebox.toml")


def run(office: Path, *arguments: str | Path) -> str:
    """What a verb prints that does its work."""
    done = told(office, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def number_in(office: Path) -> str:
    return run(office, "invoices", "list", "--account", "acme").splitlines()[1].split()[0]


def test_what_is_missing_is_made_once_and_listed(office: Path) -> None:
    assert run(office, "invoices", "make") == "0 made.\n"
    (_, line) = run(office, "invoices", "list").splitlines()
    assert line.split()[-4:] == ["100", "18", "118", "INR"]


def test_an_invoice_is_written_as_its_file_is_named(office: Path, tmp_path: Path) -> None:
    number = number_in(office)
    page, printed = tmp_path / "invoice.html", tmp_path / "invoice.pdf"
    assert run(office, "invoices", "show", number, page) == f"Wrote {page}.\n"
    assert "GST 18 %" in page.read_text("utf-8")
    run(office, "invoices", "show", number, printed, "--paper", "letter")
    assert printed.read_bytes().startswith(b"%PDF-")


def test_a_statement_is_written_to_a_file(office: Path, tmp_path: Path) -> None:
    booked = json.loads(run(office, "wallet", "statement", "acme", "--json").splitlines()[0])["at"]
    india = Calendar("Asia/Kolkata")
    month = india.month(india.find_time(booked) or 0).name
    printed, page = tmp_path / "statement.pdf", tmp_path / "statement.html"
    run(office, "wallet", "statement", "acme", "--month", month, "--pdf", printed)
    run(office, "wallet", "statement", "acme", "--month", month, "--pdf", page)
    assert printed.read_bytes().startswith(b"%PDF-")
    assert "Acme Private Limited" in page.read_text("utf-8")


def test_billing_details_change_as_far_as_they_are_said(office: Path, tmp_path: Path) -> None:
    run(
        office,
        "invoices",
        "buyer",
        "acme",
        "--name",
        "Buyer Ltd",
        "--address",
        "Plot 7",
        "--address",
        "Mumbai",
    )
    said = json.loads(run(office, "invoices", "buyer", "acme", "--tax-id", "27AAA"))
    assert (said["name"], said["address"], said["tax_id"]) == ("Buyer Ltd", ["Plot 7", "Mumbai"], "27AAA")
    file = tmp_path / "buyer.json"
    file.write_text('{"name": "Other", "region": "Kerala"}')
    said = json.loads(run(office, "invoices", "buyer", "acme", "--details", file))
    assert (said["name"], said["region"], said["tax_id"]) == ("Other", "Kerala", "")
    assert json.loads(run(office, "invoices", "buyer", "acme")) == said


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("invoices", "show", "INV-1", "x.pdf"), 1, "there is no invoice 'INV-1'"),
        (("invoices", "buyer", "nobody"), 1, "there is no account 'nobody'"),
        (("invoices", "buyer", "acme", "--name", "a\tb"), 1, "name holds a line break"),
        (
            ("wallet", "statement", "acme", "--month", "1999-01", "--pdf", "x.pdf"),
            1,
            "no statement of '1999-01'",
        ),
        (("wallet", "statement", "acme", "--month", "2026-10"), 2, "--month and --pdf go together"),
    ],
)
def test_what_cannot_be_done_is_said(
    office: Path, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    done = told(office, *arguments)
    assert done.returncode == code
    assert reason in done.stderr


def test_a_file_of_another_kind_is_refused(office: Path, tmp_path: Path) -> None:
    done = told(office, "invoices", "show", number_in(office), tmp_path / "invoice.docx")
    assert done.returncode == 2
    assert "must end in one of .html, .pdf" in done.stderr
