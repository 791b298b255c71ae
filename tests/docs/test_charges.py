"""The numbers of the charge policy are what the product charges and holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from farebox.app.office import KNOWN
from farebox.billing.prices.pricing import charge_nano, hold_nano, price_from_cost, receipt_lines, version_of
from farebox.config.read import read_settings
from farebox.config.settings import Settings
from farebox.core.money import write_nano
from farebox.core.rates import Rates
from farebox.core.usage import Usage
from farebox.dialects import DIALECTS
from farebox.dialects.dialect import Head
from farebox.gateway import deliver, hold, settle, tokens
from farebox.gateway.call import Call, Grant, Provider, Route
from farebox.gateway.profiles import STANDARD
from farebox.providers.listing import Listing
from tests.docs.pages import blocks, page, table

PAGE = page("docs/charge-policy.md")


def example(folder: Path) -> Settings:
    """The settings that the page's numbers are made with."""
    (block,) = [block for block in blocks("docs/charge-policy.md", PAGE) if block.language == "toml"]
    file = folder / "farebox.toml"
    file.write_text(block.text, "utf-8")
    return read_settings(file, {}, KNOWN)


def prices(settings: Settings) -> Rates:
    """What a customer pays under them."""
    wallet, cost = settings.wallet, settings.models[0].cost
    assert cost is not None
    fx_nano = wallet.fx_nano[cost.currency]
    return price_from_cost(cost, markup_nano=wallet.markup_nano, fx_nano=fx_nano, currency=wallet.currency)


def exact(femto: int) -> str:
    """An amount of 10⁻¹⁵ as a plain decimal."""
    whole, rest = divmod(femto, 10**15)
    return f"{whole}.{rest:015d}".rstrip("0").rstrip(".")


def test_the_prices_are_made_from_the_costs(tmp_path: Path) -> None:
    settings = example(tmp_path)
    cost, price = settings.models[0].cost, prices(settings)
    rows = table(PAGE, "Prices of the example")
    assert len(rows) == 3
    for name, told_cost, told_price in rows:
        rate = name.strip("`")
        assert write_nano(getattr(cost, rate)) == told_cost
        assert write_nano(getattr(price, rate)) == told_price


def test_the_worked_charges_come_out(tmp_path: Path) -> None:
    price = prices(example(tmp_path))
    rows = table(PAGE, "Worked charges")
    assert len(rows) >= 4
    for row in rows:
        fresh, cached, visible, thought = map(int, row[:4])
        usage = Usage(input_fresh=fresh, cache_read=cached, output_visible=visible, output_thought=thought)
        lines = receipt_lines(usage, price)
        assert exact(sum(line.amount_femto for line in lines[:-1])) == row[4]
        assert write_nano(charge_nano(usage, price)) == row[5]


def test_the_receipt_adds_up_line_by_line(tmp_path: Path) -> None:
    price = prices(example(tmp_path))
    first = table(PAGE, "Worked charges")[0]
    usage = Usage(input_fresh=int(first[0]), output_visible=int(first[2]))
    told = re.findall(r"^\| `(\w+)` \| (\d+) \| ([\d.]+) \| (\d+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    made = [
        (
            line.unit_class,
            str(line.units),
            write_nano(line.price_nano),
            str(line.per),
            exact(line.amount_femto),
        )
        for line in receipt_lines(usage, price)
    ]
    assert told == made


def test_the_worked_holds_come_out(tmp_path: Path) -> None:
    settings = example(tmp_path)
    price, model = prices(settings), settings.models[0]
    rates = version_of("price", model.id, price)
    listing = Listing(model.id, "chat", context_window=model.context_window, max_output=model.max_output)
    route = Route(cast("Provider", None), listing, "", rates, rates)
    rows = table(PAGE, "Worked holds")
    assert len(rows) >= 4
    for estimate, kind, limit, choices, prompt, output, amount in rows:
        head = Head(
            model.id,
            stream=kind == "stream",
            output_limit=None if limit == "none" else int(limit),
            choices=int(choices),
        )
        call = Call("", STANDARD, DIALECTS["openai_chat"], b"", head, cast("Grant", None), 0, 0.0)
        held = hold.held_prompt(int(estimate), route), hold.held_output(call, route)
        assert held == (int(prompt), int(output))
        assert write_nano(hold_nano(int(prompt), int(output), price)) == amount


def test_the_estimates_come_out() -> None:
    rows = table(PAGE, "Estimates")
    assert len(rows) >= 4
    for events, size, told in rows:
        assert settle.delivered_tokens(int(events), int(size)) == int(told)


def test_the_numbers_in_the_sentences_are_the_products() -> None:
    said = " ".join(PAGE.split())
    for number in (hold.STREAM_HOLD_TOKENS, hold.OUTPUT_UNKNOWN_TOKENS, *tokens.MEDIA_BOUNDS["image"][:1]):
        assert f"{number:,}" in said
    assert f"enough for {hold.LEAST_TOKENS} tokens of output" in said
    assert f"if that is {hold.LEAST_ASKED_TOKENS} tokens or more" in said
    assert hold.SHARES == 8, "an eighth of what is free"
    assert tokens.ENVELOPE_TOKENS == 12, "twelve tokens are taken off"
    assert f"one token for {_word(settle.BYTES_PER_TOKEN)} bytes of content" in said
    assert f"carry {_word(settle.EVENT_IS_TOKEN_BYTES)} bytes of content or fewer" in said
    assert f"waits up to {deliver.FINISH_WAIT_S:g} s" in " ".join(page("docs/architecture.md").split())


def _word(number: int) -> str:
    return {4: "four", 8: "eight"}[number]
