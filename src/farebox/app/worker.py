"""A worker: one process with one loop that answers calls, from its start to the end of its drain."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

from farebox.accounts.directory import Directory
from farebox.accounts.keys import note_use
from farebox.api.account import AccountSurfaces
from farebox.api.front import Front
from farebox.api.health import Health
from farebox.api.http import Connection, Server
from farebox.api.metrics import Metrics
from farebox.api.observe import AccessLog, Observer
from farebox.api.once import Once
from farebox.api.router import Router
from farebox.api.setup import Setup
from farebox.app.administering import administering_duties, build_administration
from farebox.app.alerting import Alerting
from farebox.app.bookkeeping import bookkeeping_duty
from farebox.app.duties import Duties, Duty
from farebox.app.office import Office, plans_of
from farebox.app.paperwork import issue_duty, wallet_history
from farebox.app.paying import build_topups, paying_duties, topup_surfaces, webhooks
from farebox.app.price_desk import PriceDesk
from farebox.app.prices import price_list
from farebox.app.sealing import sealing_duty
from farebox.app.stock import Stock
from farebox.app.surfaces import admin_surfaces, paying_surfaces, surfaces, wallet_surfaces
from farebox.billing.budgets import pause_tripped
from farebox.billing.periods import Calendar
from farebox.billing.receipts import Receipts
from farebox.billing.room import Room
from farebox.billing.wallet import Wallets
from farebox.features.idempotency.feature import PURPOSE, Idempotency
from farebox.features.stored_responses.feature import StoredResponses
from farebox.gateway.budget import Guards
from farebox.gateway.house import House
from farebox.gateway.route_book import RouteBook
from farebox.ledger.books import Op, Result, apply_batch
from farebox.ledger.budgets import forget_hours
from farebox.ledger.owners import keep, register, retire, sweep_dead
from farebox.limits.windows import Windows
from farebox.store.writer import GroupCommit

log = logging.getLogger("farebox")
FOLLOW_S = 0.3  # A revoked key must be refused everywhere within a second.
SWEEP_S = 0.5
FLUSH_S = 0.5
NOTE_USE_S = 20.0
CHECKPOINT_S = 2.0
FORGET_S = 10.0
FORGET_HOURS_S = 3600.0
BODY_MB = 1 << 20
BACKLOG = 2048
POLL_S = 0.02
STORE_WAIT_S = 15.0  # For the last settlements, should the database be away just now.
ABORT_S = 5.0  # For aborted calls to settle.


async def run_worker(
    worker: Worker, listening: socket.socket, ready: Callable[[], None], lifeline: int | None = None
) -> None:
    """Answer calls until SIGTERM or SIGINT, then drain; a second signal ends the patience.

    With `lifeline`, a pipe's end, the other end is the parent's, who passes signals on as SIGTERM: when the pipe is
    closed the parent is gone, and we go at once so that another may take the port.
    """
    loop = asyncio.get_running_loop()
    stop, now = asyncio.Event(), asyncio.Event()

    def orphaned(pipe: int) -> None:
        loop.remove_reader(pipe)
        stop.set()
        now.set()

    def told() -> None:
        (now if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT) if lifeline is None else (signal.SIGTERM,):
        loop.add_signal_handler(number, told)
    if lifeline is not None:
        loop.add_reader(lifeline, orphaned, lifeline)
    await worker.start(listening)
    ready()
    await stop.wait()
    await worker.stop(now)


class Worker:
    """Everything one process answers with."""

    def __init__(self, office: Office, stock: Stock, *, top_up_url: str) -> None:
        settings = office.settings
        self.office = office
        self.stock = stock
        self._lock = office.lives.begin(office.ids.new())
        register(office.database, self._lock.owner, office.clock.now_us())
        sweep_dead(office.database, office.lives, living=self._lock.owner)
        self._commit: GroupCommit[Op, Result] = GroupCommit(
            office.database, apply_batch, upkeep=office.database.upkeep
        )
        prices = price_list(settings, stock.catalogue)
        self.house = House(
            clock=office.clock,
            ids=office.ids,
            directory=Directory(office.database),
            plans=plans_of(settings),
            windows=Windows(office.windows_file, shared=settings.server.workers > 1),
            catalogue=stock.catalogue,
            prices=prices,
            routes=RouteBook(stock.providers, prices),
            wallets=Wallets(self._commit, owner=self._lock.owner, clock=office.clock),
            guards=Guards(Calendar(settings.wallet.time_zone)),
            room=Room(office.database, office.clock),
            top_up_url=top_up_url,
            reset_as_duration=settings.server.rate_limit_reset == "duration",
        )
        self.stored = StoredResponses(
            office.database,
            office.clock,
            days=settings.store.responses_days,
            bytes_max=settings.server.body_limit_mb * BODY_MB,
        )
        self._alerting = Alerting(
            office, stock.providers, self.house.wallets, owner=self._lock.owner, top_up_url=top_up_url
        )
        self._idempotency = Idempotency(
            office.database,
            office.clock,
            office.vault.safe(PURPOSE),
            hours=settings.store.idempotency_hours,
            owner=self._lock.owner,
        )
        self.once = Once(self._idempotency)  # For every surface that costs money or changes something.
        self.topups = build_topups(office)
        self.administration = build_administration(self.house, office)
        self._price_desk = PriceDesk(office, self.house)
        self._price_desk.open()
        self._log = None if settings.server.access_log == "off" else AccessLog(settings.server.access_log)
        self._observer = Observer(self._log)
        # One process needs no shared store beside it; the in-process one answers for Redis (design of the API).
        self._health = Health({"db": office.database.ping, "redis": lambda: None})
        self.server = self._build_server()

    async def start(self, listening: socket.socket) -> None:
        """Begin to answer calls."""
        loop = asyncio.get_running_loop()
        self.server.start()
        self._acceptor = await loop.create_server(
            lambda: Connection(self.server), sock=listening, backlog=BACKLOG
        )
        self._duties = Duties(self._list_duties())

    async def stop(self, now: asyncio.Event) -> None:
        """Drain: not ready from here on, and no new calls; what runs may finish, until `now` or its time is up.

        Connections are taken until then, so that whoever asks is told that we are going, and by a 503.
        """
        self._health.draining = True
        self.server.drain()
        await self._finish_calls(now)
        self._acceptor.close()
        await self._duties.stop()
        await self._alerting.stop()
        try:
            async with asyncio.timeout(STORE_WAIT_S):
                await self.house.wallets.drain()
                await self.stored.drain()
                await self._idempotency.drain()
        except TimeoutError:
            log.exception(
                "the ledger took no writes for %s s; the holds left behind are voided later", STORE_WAIT_S
            )
        self.server.close()
        for upstream in self.stock.upstreams:
            await upstream.close()
        self._commit.close()
        self.stored.close()
        self._idempotency.close()
        self._note_use()
        retire(self.office.database, self._lock.owner)
        self._lock.release()
        self.house.windows.close()
        if self._log is not None:
            self._log.close()
        self.office.close()

    async def _finish_calls(self, now: asyncio.Event) -> None:
        if not await self._idle_within(self.office.settings.server.drain_s, now):
            self.server.abort()  # Each running call ends with a typed error, and is settled.
            await self._idle_within(ABORT_S, asyncio.Event())

    async def _idle_within(self, patience_s: float, now: asyncio.Event) -> bool:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + patience_s
        while self.server.in_flight and loop.time() < end_s and not now.is_set():  # noqa: ASYNC110 -- as below
            # Looked at rather than told: an event would cost every call something, for the sake of a server's last one.
            await asyncio.sleep(POLL_S)
        return not self.server.in_flight

    def _build_server(self) -> Server:
        office, house = self.office, self.house
        limits = office.settings.server
        front = Front(self._observer, house)
        server = Server(front, body_limit=limits.body_limit_mb * BODY_MB)
        receipts = Receipts(office.database, office.settings.wallet.time_zone)
        metrics = Metrics(
            server, self._observer, house.wallets.counts, self._commit.counts, access=limits.metrics
        )
        account = AccountSurfaces(house, receipts)
        setup = Setup(office.database, office.clock)
        table = surfaces(
            house,
            account,
            self._health,
            metrics,
            setup,
            stored=self.stored,
            once=self.once,
            max_in_flight=limits.max_in_flight,
        )
        table += wallet_surfaces(wallet_history(house, office))
        table += paying_surfaces(topup_surfaces(house, office, self.topups, self.once), webhooks(self.topups))
        table += admin_surfaces(self.administration)
        front.open(Router(table, limits.hosts))
        return server

    def _list_duties(self) -> list[Duty]:
        office = self.office
        duties = [
            Duty("follow changes", FOLLOW_S, self.house.directory.refresh),
            Duty("sweep dead owners", SWEEP_S, self._sweep, in_thread=True),
            Duty("stop tripped keys", FOLLOW_S, self._pause_tripped),
            Duty("forget old hours", FORGET_HOURS_S, self._forget_hours, in_thread=True),
            Duty("note key use", NOTE_USE_S, self._note_use, in_thread=True),
            bookkeeping_duty(office, self._lock.owner),
            Duty("forget old responses", FORGET_S, self.stored.forget_old, in_thread=True),
            Duty("forget old idempotency keys", FORGET_S, self._idempotency.forget_old, in_thread=True),
            *self._alerting.duties(),
            issue_duty(office),
            sealing_duty(office, self._lock.owner),
            *paying_duties(office, self.topups),
            *self._price_desk.duties(),
            *administering_duties(self.administration),
        ]
        if office.database.upkeep is not None:
            duties.append(Duty("checkpoint", CHECKPOINT_S, office.database.upkeep, in_thread=True))
        if self._log is not None:
            duties.append(Duty("write the access log", FLUSH_S, self._log.flush))
        return duties

    def _sweep(self) -> None:
        office = self.office
        if keep(office.database, self._lock, office.clock.now_us()):
            log.warning("this worker was taken for dead, and its holds were voided; it goes on")
        voided = sweep_dead(office.database, office.lives, living=self._lock.owner)
        if voided:
            log.warning("voided %d holds of a worker that died", voided)

    async def _pause_tripped(self) -> None:
        tripped, self.house.wallets.tripped = self.house.wallets.tripped, set()
        if tripped:
            await asyncio.to_thread(self._pause, tripped)

    def _pause(self, key_ids: set[int]) -> None:
        with self.office.database.transaction() as work:
            pause_tripped(work, key_ids, self.office.clock.now_us())

    def _forget_hours(self) -> None:
        with self.office.database.transaction() as work:
            forget_hours(work, self.office.clock.now_us())

    def _note_use(self) -> None:
        used, self.house.directory.used_us = self.house.directory.used_us, {}
        if used:
            with self.office.database.transaction() as work:
                note_use(work, used)
