"""The table of verbs, and how each way of failing ends."""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError

from farebox import __version__
from farebox.cli import (
    accounts,
    admin,
    alerts,
    backup,
    books,
    budgets,
    catalogue,
    codes,
    config,
    doctor,
    invoices,
    keys,
    prices,
    requests,
    secret,
    topups,
    up,
    wallet,
)
from farebox.cli.options import UsageError
from farebox.config.origin import ConfigError
from farebox.store.database import StoreUnavailableError
from farebox.store.migrate import SchemaError

DONE, REFUSED, UNUSABLE = 0, 1, 2

app = App(
    name="farebox",
    help="A self-hosted AI gateway that sells metered access to models. `farebox up` runs everything.",
    version=__version__,
)
app.command(up.up)
app.command(backup.backup)
app.command(backup.restore)
app.command(doctor.doctor)
for group in (
    keys,
    budgets,
    accounts,
    wallet,
    topups,
    codes,
    invoices,
    alerts,
    books,
    requests,
    catalogue,
    prices,
    config,
    admin,
    secret,
):
    app.command(group.app)


def main(arguments: list[str] | None = None) -> None:
    """Run one verb and exit with its code."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _fail(_one_line(str(error)) + " See farebox --help.", UNUSABLE)
    except (ConfigError, UsageError, SchemaError, StoreUnavailableError) as error:
        _fail(_one_line(str(error)), UNUSABLE)
    except ValueError as error:
        _fail(_one_line(str(error)), REFUSED)
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep the interpreter from saying so again at exit.
        sys.stdout = None
        sys.exit(DONE)
    except OSError as error:
        _fail(_one_line(str(error)), UNUSABLE)
    else:
        sys.exit(code if isinstance(code, int) else DONE)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fail(reason: str, code: int) -> None:
    print(f"farebox: {reason}", file=sys.stderr)
    sys.exit(code)
