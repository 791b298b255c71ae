"""`farebox doctor`: what is wrong here, and what to do."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import msgspec
from cyclopts import Parameter

from farebox.app.doctor import Patient, examine
from farebox.app.office import load_settings
from farebox.app.stock import discover
from farebox.cli.options import DEFAULT_DATA, Config, Data, UsageError
from farebox.config.settings import database_file
from farebox.core.clock import SystemClock


def doctor(
    *,
    json: Annotated[bool, Parameter(negative="", help="One JSON object a finding.")] = False,
    data: Data = DEFAULT_DATA,
    config: Config = None,
) -> int:
    """Look at a deployment without changing it. Exit 0: all is well; 1: something is wrong; 2: could not look."""
    settings = load_settings(config, os.environ)
    file = database_file(settings.store, data)
    for path in (data, file):
        if path is not None and not path.exists():
            raise UsageError(f"there is no {path}: name the data folder with --data")
    found = asyncio.run(discover(settings, os.environ))
    findings = examine(Patient(data, settings, os.environ, found, SystemClock()))
    for finding in findings:
        if json:
            print(msgspec.json.encode(finding).decode())
        else:
            advice = f". {finding.advice[:1].upper()}{finding.advice[1:]}." if finding.advice else ""
            print(f"{'✓' if finding.ok else '✗'} {finding.name}: {finding.text}{advice}")
    return 0 if all(finding.ok for finding in findings) else 1
