"""The table of verbs, and how each way of failing ends."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module

from cyclopts import App, CycloptsError

from farebox import __version__
from farebox.cli.options import UsageError
from farebox.config.origin import ConfigError
from farebox.store.database import StoreUnavailableError
from farebox.store.migrate import SchemaError

DONE, REFUSED, UNUSABLE = 0, 1, 2
# Each verb's module, and what it is there. A module is imported when its verb is asked for: the start of a gateway
# need not wait for what only operators' other verbs use.
VERBS = {
    **{name: (name, name) for name in ("up", "backup", "doctor")},
    "restore": ("backup", "restore"),
    **{
        name: (name, "app")
        for name in (
            *("keys", "budgets", "accounts", "wallet", "topups", "codes", "invoices", "alerts", "books"),
            *("requests", "catalogue", "prices", "config", "admin", "secret"),
        )
    },
}


def build_app(verbs: Iterable[str] = VERBS) -> App:
    """The command line with these verbs."""
    app = App(
        name="farebox",
        help="A self-hosted AI gateway that sells metered access to models. `farebox up` runs everything.",
        version=__version__,
    )
    for verb in verbs:
        module, name = VERBS[verb]
        app.command(getattr(import_module(f"farebox.cli.{module}"), name))
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one verb and exit with its code."""
    given = sys.argv[1:] if arguments is None else arguments
    app = build_app(VERBS.keys() & set(given[:1]) or VERBS)
    try:
        code = app(given, exit_on_error=False, print_error=False, result_action="return_value")
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
