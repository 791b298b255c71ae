"""Alerting: looks who is to be told what, on one worker of all, and has the courier tell it."""

from __future__ import annotations

from collections.abc import Mapping

from farebox.app.delivery.courier import Courier
from farebox.app.delivery.mail import Mailer, Server
from farebox.app.delivery.webhook import Webhooks
from farebox.app.duties import Duty
from farebox.app.lease import Lease, keep_lease, take_lease
from farebox.app.office import Office
from farebox.billing.telling.alerts import (
    BATCH,
    anything_due,
    budget_alerts,
    provider_spent,
    refusal_alerts,
    wallet_alerts,
)
from farebox.billing.telling.outbox import Channel, Directions, Recipient
from farebox.billing.wallet import Wallets
from farebox.config.settings import Settings
from farebox.core.clock import Clock
from farebox.gateway.call import Provider

LOOK_S = 2.0  # It costs 3 ms with 10,000 wallets, and 12 ms more with 10,000 budgets, beside the loop.
DELIVER_S = 1.0
FORGET_S = 600.0
LEASE_US = 10_000_000
SPENT_AGAIN_US = 3_600_000_000  # The operator is told once an hour for as long as a provider refuses.
BATCHES = 5  # In one look, so that the wallets of a database that knew no alerts are gone through soon.


class Alerting:
    """Everything that tells anybody anything, for one worker."""

    def __init__(
        self,
        office: Office,
        providers: Mapping[str, Provider],
        wallets: Wallets,
        *,
        owner: str,
        top_up_url: str,
    ) -> None:
        self._database = office.database
        self._clock = office.clock
        self._providers = providers
        self._wallets = wallets
        self._top_up_url = top_up_url
        self._lease = Lease("look for alerts", owner, LEASE_US)
        self._courier = Courier(
            office.database,
            channels_of(office.settings, office.clock),
            directions_of(office),
            clock=office.clock,
            owner=owner,
        )

    def duties(self) -> list[Duty]:
        """What a worker does for it."""
        return [
            Duty("look for alerts", LOOK_S, self.look, in_thread=True),
            Duty("deliver notices", DELIVER_S, self._courier.turn),
            Duty("forget old notices", FORGET_S, self._courier.forget_old, in_thread=True),
        ]

    async def stop(self) -> None:
        """End what is being sent."""
        await self._courier.stop()

    def look(self) -> None:
        """Note what is due. What each worker's calls met with is its own to tell, the rest one worker's."""
        now_us = self._clock.now_us()
        self._tell_troubles(now_us)
        self._tell_refused(now_us)
        if not keep_lease(self._database, self._lease, now_us):
            return
        with self._database.read() as view:
            if not anything_due(view, now_us):
                return
        for _ in range(BATCHES):
            with self._database.transaction() as work:
                looked_at = wallet_alerts(work, now_us, top_up_url=self._top_up_url)
                budget_alerts(work, now_us)
            if looked_at < BATCH:
                return

    def _tell_refused(self, now_us: int) -> None:
        short, self._wallets.short = self._wallets.short, set()
        if short:
            with self._database.transaction() as work:
                refusal_alerts(work, short, now_us, top_up_url=self._top_up_url)

    def _tell_troubles(self, now_us: int) -> None:
        spent = [name for name, provider in self._providers.items() if provider.troubles.take_spent()]
        for name in spent:
            with self._database.transaction() as work:
                # A lease that nobody prolongs: whoever takes it tells, and the hour goes by before another can.
                if take_lease(work, f"told: {name} is spent", str(now_us), now_us + SPENT_AGAIN_US, now_us):
                    provider_spent(work, name, now_us)


def channels_of(settings: Settings, clock: Clock) -> dict[str, Channel]:
    """The ways of telling that this deployment has."""
    channels: dict[str, Channel] = {"webhook": Webhooks(clock)}
    mail = settings.email
    if mail.host:
        server = Server(mail.host, mail.port, mail.security, mail.sender, mail.user, mail.password)
        channels["email"] = Mailer(server, clock)
    return channels


def directions_of(office: Office) -> Directions:
    """Where the operator and the customers are told."""
    alerts = office.settings.alerts
    operator = Recipient(
        name=None,
        email=alerts.email or None,
        webhook_url=alerts.webhook or None,
        webhook_secret=alerts.webhook_secret,
        private=alerts.allow_private,
    )
    return Directions(operator, office.secret)
