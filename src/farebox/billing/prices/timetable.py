"""The timetable of prices: works out ahead what each dated change does, writes it in the book, and puts it in force.

Two duties share it. `plan` runs in a thread: it reads what was entered, makes the versions of now and of the moments
to come, and writes book and versions. `advance` runs on the event loop, where it costs a comparison: what `plan` made
ready is put in force when it is due, by exchanging dictionaries. So no call looks at a clock for its price, and a
call keeps the version it was held with.

A dated row of the file that would make something dearer sooner than customers can be told is put off by the notice
period, counted from the start that first saw the row. That is decided once and kept. What the first start of a
deployment finds is in force at once: there is nobody to tell.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from farebox.billing.prices.book import (
    Begun,
    Key,
    Period,
    changed_since,
    first_seen,
    is_empty,
    list_changes,
    note_seen,
    write_coming,
    write_current,
)
from farebox.billing.prices.pricelist import Coming, PriceList, Standing
from farebox.billing.prices.pricing import PriceVersion
from farebox.billing.prices.scheduling import DAY_US, made_dearer, touched_by
from farebox.billing.prices.tariff import ALWAYS_US, Change, Layer, Tariff
from farebox.core.clock import Clock
from farebox.store.database import Database, Transaction

log = logging.getLogger("farebox")
MOMENTS_MAX = 64  # Worked out ahead at once; the rest follow as these pass.
READY_MAX = 8  # Kept in memory, ready to be stood at: each has every version there is.
REPLAN_US = 3_600_000_000  # The horizon moves on though nothing changes.
LOG_MAX = 20  # Models named in the log; the book has them all.
_FAR_US = 2**62

ComingPrices = Mapping[tuple[str, int | None], tuple[Coming, ...]]


class Plan(msgspec.Struct, frozen=True):
    """What `plan` made ready: of now, of the moments to come, and what customers may be shown of those."""

    now: Standing
    later: tuple[Standing, ...]
    coming: ComingPrices


class Timetable:
    """Keeps one price list at its time. `plan` belongs to a thread, `advance` to the event loop's."""

    def __init__(
        self,
        database: Database,
        prices: PriceList,
        plan_markups: Mapping[str, int | None],
        clock: Clock,
        *,
        notice_days: int,
    ) -> None:
        self.prices = prices
        # Plans with a markup of their own by name, everybody else's under no name.
        self._scopes: dict[str, int | None] = {"": None} | {
            name: markup for name, markup in plan_markups.items() if markup is not None
        }
        self._markups = frozenset(self._scopes.values())
        self._database = database
        self._clock = clock
        self._notice_us = notice_days * DAY_US
        self._file = tuple(change for change in prices.tariff.changes if change.layer is Layer.FILE)
        self._seen = 0  # The newest change of the database that was looked at.
        self._planned_us = 0
        self._stale = True  # There is something to plan.
        self._ready: Plan | None = None
        self._later: tuple[Standing, ...] = ()

    def open(self) -> None:
        """At a start: everything of now is made, in force and in the book. What is to come is left to `plan`."""
        now_us = self._clock.now_us()
        with self._database.transaction() as work:
            self._seen, _ = changed_since(work, 0)
            new = is_empty(work)
            self._file = tuple(self._settled(work, change, now_us, new=new) for change in self._file)
            standing = self._stand(self._tariff(work), now_us, self.prices.wares)
            self.prices.save(work, now_us)
            _say(write_current(work, now_us, self._current(standing)))
        self.prices.stand(standing)

    def plan(self) -> None:
        """Make ready what is due next, and write down what is to come, if anything changed or time has moved on."""
        now_us = self._clock.now_us()
        with self._database.read() as view:
            self._seen, changed = changed_since(view, self._seen)
        self._stale |= changed or now_us - self._planned_us > REPLAN_US
        if self._ready is not None or not self._stale:
            return
        self._stale = False  # Before, not after: what `advance` does meanwhile wants another plan.
        try:
            with self._database.transaction() as work:
                ready = self._plan(work, now_us)
        except BaseException:
            self._stale = True
            raise
        self._planned_us = now_us
        self._ready = ready

    def advance(self) -> frozenset[str]:
        """Put in force what is due; the models whose rates may have changed."""
        ready, self._ready = self._ready, None
        due = []
        if ready is not None:
            due.append(ready.now)
            self._later, self.prices.coming = ready.later, ready.coming
        now_us = self._clock.now_us() if self._later else 0
        while self._later and self._later[0].at_us <= now_us:
            due.append(self._later[0])
            self._later, self._stale = self._later[1:], True
        if not due:
            return frozenset()
        self.prices.stand(due[-1])
        return frozenset().union(*(standing.touched for standing in due))

    def _plan(self, work: Transaction, now_us: int) -> Plan:
        tariff, prices = self._tariff(work), self.prices
        now = self._stand(tariff, now_us, self._between(prices.tariff, prices.at_us, tariff, now_us))
        before, later, periods = now, [], []
        coming: dict[tuple[str, int | None], list[Coming]] = defaultdict(list)
        for at_us in self._moments(tariff, now_us):
            models = self._between(tariff, before.at_us, tariff, at_us)
            after = self._stand(tariff, at_us, models, base=before)
            old, new = dict(self._versions(before, models)), dict(self._versions(after, models))
            changed = {key: version for key, version in new.items() if version != old[key]}
            periods += [Period(key, at_us, version.id) for key, version in changed.items()]
            for key, version in changed.items():
                if key.kind == "price":
                    coming[key.model, self._scopes[key.scope]].append(Coming(at_us, version))
            later.append(after)
            before = after
        prices.save(work, now_us)
        _say(write_current(work, now_us, self._current(now)))
        write_coming(work, now_us, periods)
        return Plan(now, tuple(later[:READY_MAX]), {key: tuple(rows) for key, rows in coming.items()})

    def _moments(self, tariff: Tariff, now_us: int) -> list[int]:
        """When changes start: within the notice period and a day, and the next one in any case."""
        ahead = tariff.starting(now_us, _FAR_US)
        horizon_us = now_us + self._notice_us + DAY_US
        moments = sorted({change.starts_us for change in ahead})
        return [at_us for at_us in moments if at_us <= max(horizon_us, moments[0])][:MOMENTS_MAX]

    def _settled(self, work: Transaction, change: Change, now_us: int, *, new: bool) -> Change:
        """A change of the file with the moment at which it takes effect, decided when it was first seen."""
        if change.starts_us == ALWAYS_US:
            return change
        starts_us = first_seen(work, change)
        if starts_us is None:
            starts_us, earliest_us = change.starts_us, now_us + self._notice_us
            if not new and change.notice and starts_us < earliest_us and self._raises(work, change, now_us):
                starts_us = earliest_us
                log.warning(
                    "the dated change of %s makes it dearer before customers can be told: it is put off by %d days;"
                    " write notice = false to have it at once",
                    change.target,
                    self._notice_us // DAY_US,
                )
            note_seen(work, change, now_us, starts_us)
        return msgspec.structs.replace(change, starts_us=starts_us)

    def _raises(self, work: Transaction, change: Change, now_us: int) -> bool:
        others = [other for other in self._tariff(work).changes if other is not change]
        return bool(made_dearer(self.prices, others, change, self._markups, max(change.starts_us, now_us)))

    def _tariff(self, view: Transaction) -> Tariff:
        entered = [row.change for row in list_changes(view)]
        return Tariff((*entered, *self._file), self.prices.tariff.held)

    def _stand(
        self, tariff: Tariff, at_us: int, models: Iterable[str], base: Standing | None = None
    ) -> Standing:
        return self.prices.standing(tariff, at_us, touched=models, markups=self._markups, base=base)

    def _current(self, standing: Standing) -> dict[Key, str]:
        return {key: version.id for key, version in self._versions(standing, self.prices.wares)}

    def _versions(self, standing: Standing, models: Iterable[str]) -> Iterator[tuple[Key, PriceVersion]]:
        for model in models:
            for scope, markup in self._scopes.items():
                yield Key("price", model, scope), standing.prices[model, markup]
            # Of two ways through one provider the first is the book's, so it comes last.
            for way in reversed(self.prices.wares[model].ways):
                yield Key("cost", model, way.provider), standing.costs[model, way.provider, way.cost]

    def _between(self, old: Tariff, old_us: int, new: Tariff, new_us: int) -> list[str]:
        """Models whose rates may differ between two moments of two tariffs."""
        since, until = min(old_us, new_us), max(old_us, new_us)
        changes = set(new.starting(since, until)) | set(old.starting(since, until))
        if new is not old:
            changes |= {change for change in set(old.changes) ^ set(new.changes) if change.starts_us <= until}
        return touched_by(self.prices, changes)


def as_seen(view: Transaction, changes: Iterable[Change]) -> list[Change]:
    """Changes of the file at the moments that servers take them to start at."""
    return [
        change if starts_us is None else msgspec.structs.replace(change, starts_us=starts_us)
        for change in changes
        for starts_us in (first_seen(view, change),)
    ]


def _say(begun: list[Begun]) -> None:
    """Log which prices have changed since they were last written, however that came about."""
    changed = [one.period for one in begun if one.period.key.kind == "price" and one.before is not None]
    for period in changed[:LOG_MAX]:
        scope = f" on the plan {period.key.scope}" if period.key.scope else ""
        now = f"is {period.version} now" if period.version else "is not sold any more"
        log.info("the price of %s%s %s; see farebox prices show", period.key.model, scope, now)
    if len(changed) > LOG_MAX:
        log.info("and so do the prices of %d more", len(changed) - LOG_MAX)
