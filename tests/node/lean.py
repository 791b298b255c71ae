"""Leaves the addresses of donations, which npm notes, out of the lock of Node's clients: locks pin hashes alone."""

from __future__ import annotations

import json
from pathlib import Path

LOCK = Path(__file__).with_name("package-lock.json")


def lean(text: str) -> str:
    """The lock without the addresses of donations."""
    lock = json.loads(text)
    for package in lock["packages"].values():
        package.pop("funding", None)
    return json.dumps(lock, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    LOCK.write_text(lean(LOCK.read_text("utf-8")), "utf-8")
