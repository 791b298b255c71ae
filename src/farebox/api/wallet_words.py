"""How the surfaces of a wallet write what they tell: JSON whose amounts are numbers with their exact digits."""

from __future__ import annotations

import msgspec

from farebox.billing.papers.buyers import Buyer
from farebox.billing.papers.history import ModelEntry
from farebox.billing.papers.invoices import Invoice, Seller
from farebox.billing.papers.monthly import Day, Statement
from farebox.billing.periods import Calendar, Period
from farebox.billing.receipts import WalletView
from farebox.core.money import write_nano

Words = dict[str, object]


def exact(nano: int) -> msgspec.Raw:
    """An amount as a JSON number with all its digits."""
    return msgspec.Raw(write_nano(nano).encode())


def wallet_words(wallet: WalletView) -> Words:
    """What is in a wallet."""
    return {
        "object": "wallet",
        "balance": exact(wallet.balance_nano),
        "held": exact(wallet.held_nano),
        "spendable": exact(wallet.balance_nano - wallet.held_nano),
        "spent": exact(wallet.spent_nano),
        "currency": wallet.currency,
    }


def entry_words(entry: ModelEntry) -> Words:
    """One transfer."""
    return {
        "id": entry.id,
        "object": "transfer",
        "kind": entry.kind,
        "amount": exact(entry.amount_nano),
        "balance_after": exact(entry.balance_after_nano),
        "currency": entry.currency,
        "reason": entry.reason,
        "request_id": entry.request_id,
        "model": entry.model,
        "input_tokens": entry.input_tokens,
        "output_tokens": entry.output_tokens,
        "created": entry.at_us // 1_000_000,
    }


def day_words(day: Day) -> Words:
    """One day of a wallet."""
    return {
        "object": "day",
        "day": day.name,
        "money_in": exact(day.in_nano),
        "calls": day.calls,
        "charges": exact(day.charge_nano),
        "money_out": exact(day.out_nano),
        "balance_after": exact(day.closing_nano),
    }


def buyer_words(buyer: Buyer) -> Words:
    """Billing details."""
    return {
        "object": "billing_details",
        "name": buyer.name,
        "address": list(buyer.address),
        "region": buyer.region,
        "tax_id": buyer.tax_id,
        "email": buyer.email,
    }


def invoice_words(document: Invoice) -> Words:
    """An invoice or a credit note, as it was issued."""
    calendar = Calendar(document.time_zone)
    return {
        "number": document.number,
        "object": document.kind,
        "date": calendar.local(document.issued_us).date().isoformat(),
        "created": document.issued_us // 1_000_000,
        "paid_at": document.paid_us // 1_000_000,
        "seller": _seller_words(document.seller),
        "buyer": buyer_words(document.buyer),
        "item": document.item,
        "item_code": document.item_code,
        "net": exact(document.net_nano),
        "tax_lines": [
            {"name": line.name, "basis_points": line.basis_points, "amount": exact(line.amount_nano)}
            for line in document.tax
        ],
        "tax": exact(document.tax_nano),
        "total": exact(document.total_nano),
        "currency": document.currency,
        "credit": exact(document.credit_nano),
        "topup_id": document.topup_id,
        "processor": document.processor,
        "processor_ref": document.processor_ref,
        "invoice": document.invoice,
        "reason": document.reason,
    }


def _seller_words(seller: Seller) -> Words:
    return {
        "name": seller.name,
        "address": list(seller.address),
        "region": seller.region,
        "tax_id": seller.tax_id,
        "email": seller.email,
    }


def month_words(month: Period, calendar: Calendar, now_us: int) -> Words:
    """A month that has a statement."""
    return {
        "object": "statement",
        "month": month.name,
        "from": calendar.local(month.start_us).isoformat(),
        "to": calendar.local(month.end_us).isoformat(),
        "complete": now_us >= month.end_us,
    }


def statement_words(statement: Statement, calendar: Calendar) -> Words:
    """A whole statement."""
    period = Period(statement.month, statement.start_us, statement.end_us)
    return month_words(period, calendar, statement.made_us) | {
        "time_zone": statement.time_zone,
        "account": statement.account,
        "currency": statement.currency,
        "opening_balance": exact(statement.opening_nano),
        "closing_balance": exact(statement.closing_nano),
        "totals": [
            {"kind": total.kind.value, "count": total.count, "amount": exact(total.change_nano)}
            for total in statement.totals
        ],
        "models": [
            {
                "model": model.model,
                "calls": model.calls,
                "input_tokens": model.input_tokens,
                "output_tokens": model.output_tokens,
                "charge": exact(model.charge_nano),
            }
            for model in statement.models
        ],
        "days": [day_words(day) for day in statement.days],
        "losses": [
            {
                "id": loss.id,
                "amount": exact(loss.amount_nano),
                "reason": loss.reason,
                "created": loss.created_us // 1_000_000,
            }
            for loss in statement.losses
        ],
    }
