"""A shop for tests: a `farebox.toml` that sells one model of one scripted provider, at prices easy to reckon with."""

from __future__ import annotations

from pathlib import Path

from farebox.core.money import NANO

MODEL = "acme/chat"
INPUT_NANO = 1_000  # A token: one dollar a million.
OUTPUT_NANO = 2_000
CALL_NANO = 11 * INPUT_NANO + 5 * OUTPUT_NANO  # What the polite answers of tests/support/answers.py come to.
MAX_OUTPUT = 1_000

_TOML = """
[wallet]
currency = "USD"

[[providers]]
name = "acme"
base_url = "{base_url}"
api_key = "sk-upstream-secret"

[[models]]
id = "acme/chat"
context_window = 100000
max_output = {max_output}
cost = {{ currency = "USD", input = "0.5", output = "1" }}
price = {{ currency = "USD", input = "1", output = "2" }}
routes = [{{ provider = "acme", model = "chat-1" }}]

[[plans]]
name = "enterprise"
chat_rpm = 1000000
"""


def open_shop(folder: Path, base_url: str, more: str = "") -> Path:
    """Write the configuration; `more` is further TOML, tables first."""
    file = folder / "farebox.toml"
    file.write_text(_TOML.format(base_url=base_url, max_output=MAX_OUTPUT) + more)
    return file


def nano(amount: object) -> int:
    """An amount as the command line and the API write it, in nano-units and without a float."""
    text = str(amount)
    whole, _, decimals = text.removeprefix("-").partition(".")
    value = int(whole) * NANO + int(decimals.ljust(9, "0") or 0)
    return -value if text.startswith("-") else value
