"""The table: every action of an operator."""

from __future__ import annotations

from farebox.api.admin.accounts import account_actions
from farebox.api.admin.action import Action
from farebox.api.admin.administrators import administrator_actions
from farebox.api.admin.audit import audit_actions
from farebox.api.admin.books import book_actions
from farebox.api.admin.keys import key_actions
from farebox.api.admin.models import model_actions
from farebox.api.admin.plans import plan_actions
from farebox.api.admin.requests import request_actions
from farebox.api.admin.shop import Shop
from farebox.api.admin.transfers import transfer_actions


def admin_actions(shop: Shop) -> list[Action]:
    """Every row, by noun."""
    return [
        *account_actions(shop),
        *key_actions(),
        *transfer_actions(shop),
        *plan_actions(shop),
        *model_actions(shop),
        *request_actions(shop.receipts),
        *book_actions(shop),
        *administrator_actions(),
        *audit_actions(),
    ]
