"""`farebox backup` and `farebox restore`: everything in one file, and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from farebox.app.backup import SECRET, Source, Told, make_backup, tell_nobody
from farebox.app.office import load_settings
from farebox.app.restore import Restored, restore_backup
from farebox.app.secret import SECRET_VARIABLE
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError
from farebox.config.settings import Settings, database_file
from farebox.core.clock import SystemClock

BackupFile = Annotated[Path, Parameter(help="The backup: a .tar, or packed a .tar.gz.")]


def backup(
    file: BackupFile,
    /,
    *,
    with_secret: Annotated[
        bool,
        Parameter(negative="", help="With the master secret; then the backup must be kept as safe as it."),
    ] = False,
    force: Annotated[bool, Parameter(negative="", help="Replace a file of that name.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> None:
    """Write everything there is to one file, as it is at one moment, beside a running server."""
    settings = load_settings(config, os.environ)
    path = _database(settings, data, f"pg_dump --format=custom --file={file}")
    if not path.exists():
        raise UsageError(f"there is no database {path}: name the data folder with --data")
    source = Source(data, path, with_secret)
    with _bar() as told:
        manifest = make_backup(source, file, SystemClock(), force=force, told=told)
    counts = ", ".join(f"{count} {name}" for name, count in manifest.counts.items())
    print(f"Backed up to {file} ({file.stat().st_size} bytes): {counts}.")
    if manifest.has_secret:
        print("The master secret is in it: keep the file as safe as the secret.")
    else:
        where = SECRET_VARIABLE if os.environ.get(SECRET_VARIABLE) else str(data / SECRET)
        print(
            f"The master secret is not in it: keep {where} apart, or what it sealed cannot be opened again."
        )


def restore(file: BackupFile, /, *, data: Data = DEFAULT_DATA, config: Config = None) -> int:
    """Put a backup into an empty data folder, and check its books. Exit 0: balanced; 1: refused, or they are not."""
    settings = load_settings(config, os.environ)
    path = _database(settings, data, f"pg_restore --no-owner {file}")
    with _bar() as told:
        restored = restore_backup(file, data, path, SystemClock(), told=told)
    for line in _told(restored, data):
        print(line)
    return 0 if restored.report.balanced else 1


def _told(restored: Restored, data: Path) -> Iterator[str]:
    manifest, report = restored.manifest, restored.report
    yield f"Restored to {data}, as it was at {manifest.made} (in {manifest.currency or 'no currency yet'})."
    if restored.voided:
        yield f"{restored.voided} calls were running then: what they held was freed."
    for breach in report.breaches:
        yield f"{breach.rule}: {breach.row} has {breach.found}, not {breach.expected}"
    state = "balanced" if report.balanced else "NOT balanced"
    yield (
        f"The books are {state}: {report.wallets} wallets, {report.transfers} transfers,"
        f" {report.requests} requests, {report.holds} holds."
    )
    if not manifest.has_secret:
        yield (
            f"The master secret was not in the backup: put yours at {data / SECRET} (or in {SECRET_VARIABLE})"
            " before you start, or a new one is made."
        )


def _database(settings: Settings, data: Path, instead: str) -> Path:
    """The database's file. UsageError where it is on a server, with what to do there."""
    path = database_file(settings.store, data)
    if path is None:
        address = settings.store.database.shown.replace(":***@", "@")
        raise UsageError(
            f"the books are on PostgreSQL, whose own tools copy them: {instead} --dbname={address}"
            " (it takes the password from PGPASSWORD or ~/.pgpass); keep the data folder's secret.key as well"
        )
    return path


@contextmanager
def _bar() -> Iterator[Told]:
    """How far it is, on a terminal."""
    if not sys.stderr.isatty():
        yield tell_nobody
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        def told(what: str, done: int, every: int) -> None:
            progress.update(task, description=what, completed=done, total=every)

        yield told
