"""Administering: the operator's surfaces as the settings have them, and what is done for them from time to time."""

from __future__ import annotations

from farebox.api.admin.administration import Administration
from farebox.api.admin.shop import Shop
from farebox.api.admin.table import admin_actions
from farebox.app.bookkeeping import check_now
from farebox.app.duties import Duty
from farebox.app.office import Office
from farebox.billing.periods import Calendar
from farebox.billing.receipts import Receipts
from farebox.gateway.house import House

FORGET_S = 3600.0


def build_administration(house: House, office: Office) -> Administration:
    """What answers operators."""
    settings = office.settings
    shop = Shop(
        house=house,
        database=office.database,
        receipts=Receipts(office.database, settings.wallet.time_zone),
        calendar=Calendar(settings.wallet.time_zone),
        starter_credit_nano=settings.wallet.starter_credit_nano,
        check_books=lambda: check_now(office),
    )
    return Administration(office.database, office.clock, office.ids, admin_actions(shop))


def administering_duties(administration: Administration) -> list[Duty]:
    """What is forgotten in time."""
    return [Duty("forget old answers to operators", FORGET_S, administration.forget_old, in_thread=True)]
