"""The master secret: where it is read from, how it is made, and how it is replaced.

It has one current value, and those before it, so that what they have sealed can still be opened: `secret.key` has one
on each line, `FAREBOX_SECRET` has them between commas; the current one is the first in both.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

SECRET_VARIABLE = "FAREBOX_SECRET"  # noqa: S105 -- the name of a variable, not its value
SECRET_BYTES = 32
SECRETS_MAX = 16  # Every safe makes keys of all of them; whoever has more should take out the oldest.
SECRET_FILE = "secret.key"  # noqa: S105 -- its name, not what is in it


def read_secrets(data: Path, environment: Mapping[str, str]) -> tuple[bytes, ...]:
    """The master secrets, the current one first: the environment's, else the file's, made at first start.

    ValueError, which says nothing of what is in them, if they cannot be used.
    """
    given = environment.get(SECRET_VARIABLE)
    if given:
        return _checked([secret.strip().encode() for secret in given.split(",")], SECRET_VARIABLE)
    path = data / SECRET_FILE
    if not path.exists():
        _make(path)
    try:
        known = [bytes.fromhex(line) for line in path.read_text("ascii").splitlines() if line.strip()]
    except ValueError:
        raise ValueError(
            f"{path} is not right: each of its lines is a secret in hexadecimal digits"
        ) from None
    return _checked(known, str(path))


def rotate_secret(data: Path, environment: Mapping[str, str]) -> int:
    """Put a new secret before those of the file; how many there are now. ValueError if the file is not what is used."""
    if environment.get(SECRET_VARIABLE):
        raise ValueError(
            f"the master secret is in {SECRET_VARIABLE}: put a new one and a comma before what is there,"
            " and start every process again"
        )
    known = read_secrets(data, environment)
    if len(known) >= SECRETS_MAX:
        raise ValueError(
            f"{data / SECRET_FILE} has {len(known)} secrets already: delete its last lines, which are the oldest"
        )
    new = _written(data / SECRET_FILE, (secrets.token_bytes(SECRET_BYTES), *known))
    new.replace(data / SECRET_FILE)
    return len(known) + 1


def _make(path: Path) -> None:
    """Make the first secret; of two processes that start at once, both use the one's that was first."""
    new = _written(path, (secrets.token_bytes(SECRET_BYTES),))
    try:
        os.link(new, path)
    except FileExistsError:
        return
    finally:
        new.unlink()


def _written(path: Path, known: tuple[bytes, ...]) -> Path:
    """A file beside the one at `path`, whole and on the disk: a secret that is half written opens nothing."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    file = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(file, "w", encoding="ascii") as handle:
        handle.writelines(f"{secret.hex()}\n" for secret in known)
        handle.flush()
        os.fsync(handle.fileno())
    return new


def _checked(known: list[bytes], where: str) -> tuple[bytes, ...]:
    if not known or not all(known):
        raise ValueError(f"the master secret in {where} is empty")
    if len(known) > SECRETS_MAX:
        raise ValueError(f"{where} has {len(known)} secrets, and {SECRETS_MAX} are the most")
    return tuple(known)
