"""The price desk: what a worker does about prices, at its start and from time to time."""

from __future__ import annotations

import logging

from farebox.app.duties import Duty
from farebox.app.office import Office
from farebox.billing.prices.announcing import announce_prices
from farebox.billing.prices.margin import Action
from farebox.billing.prices.timetable import Timetable
from farebox.gateway.house import House

log = logging.getLogger("farebox")
PLAN_S = 0.3  # A change that is entered must be in force everywhere within a second.
ADVANCE_S = 0.1
ANNOUNCE_S = 5.0
SAID_MAX = 20  # Models named in the log.
_DONE = {
    Action.REROUTE: "the routes that cost more are left out",
    Action.REFUSE: "they are not sold",
    Action.REPRICE: "their prices are raised",
}


class PriceDesk:
    """Keeps the price list of a worker at its time, and says what the margin guard does."""

    def __init__(self, office: Office, house: House) -> None:
        self._office = office
        self._house = house
        self.timetable = Timetable(
            office.database,
            house.prices,
            {plan.name: plan.markup_nano for plan in house.plans.values()},
            office.clock,
            notice_days=office.settings.wallet.price_notice_days,
        )

    def open(self) -> None:
        """Before the first call: every price of now is made and written down."""
        self.timetable.open()
        self._say_low()

    def duties(self) -> list[Duty]:
        """What is to be done from time to time."""
        return [
            Duty("plan prices", PLAN_S, self.timetable.plan, in_thread=True),
            Duty("put due prices in force", ADVANCE_S, self._advance),
            Duty("announce prices", ANNOUNCE_S, self._announce, in_thread=True),
        ]

    def _say_low(self) -> None:
        prices = self._house.prices
        low = prices.low({plan.markup_nano for plan in self._house.plans.values()})
        if not low:
            return
        named = ", ".join(low[:SAID_MAX]) + (", …" if len(low) > SAID_MAX else "")
        guard = prices.terms.guard
        if guard.factor_nano:
            log.warning(
                "%d models sell too low for margin_factor: %s; %s", len(low), named, _DONE[guard.action]
            )
        else:
            log.warning("%d models sell below what a route of theirs costs: %s", len(low), named)

    def _advance(self) -> None:
        self._house.routes.forget(self.timetable.advance())

    def _announce(self) -> None:
        told = announce_prices(self._office.database, self._office.clock.now_us())
        if told:
            log.info("%d accounts are told of dearer prices", told)
