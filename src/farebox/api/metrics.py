"""Metrics in Prometheus' text form, gathered when somebody asks: nothing is done for them on the path of a call."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from farebox.api.http import Server
from farebox.api.observe import BUCKETS_S, Observer
from farebox.api.visit import Visit
from farebox.billing import wallet
from farebox.core.errors import Fault, Kind
from farebox.core.money import NANO
from farebox.store import writer

_TEXT = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"


class Metrics:
    """A Prometheus collector over the counters of one worker."""

    def __init__(
        self,
        server: Server,
        observer: Observer,
        wallets: wallet.Counts,
        commits: writer.Counts,
        *,
        access: str,
    ) -> None:
        self._server = server
        self._observer = observer
        self._wallets = wallets
        self._commits = commits
        self._access = access
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def show(self, visit: Visit) -> None:
        """`GET /metrics`: for the machine itself unless the operator opened it."""
        if self._access == "off" or (self._access == "loopback" and not _is_loopback(visit.exchange.peer)):
            raise Fault(Kind.NOT_FOUND, "There is nothing at '/metrics'.")
        visit.exchange.answer(200, visit.headers + _TEXT, generate_latest(self._registry))

    def collect(self) -> Iterator[Metric]:
        """Every metric of this worker."""
        requests = CounterMetricFamily("farebox_requests", "Requests answered.", labels=["profile", "status"])
        for (profile, status), count in self._observer.requests.items():
            requests.add_metric([profile, str(status)], count)
        yield requests
        yield self._seconds()
        yield GaugeMetricFamily("farebox_in_flight", "Requests being handled.", self._server.in_flight)
        yield GaugeMetricFamily("farebox_connections", "Connections open.", len(self._server.connections))
        for name, text, value in self._counts():
            yield CounterMetricFamily(name, text, value)

    def _seconds(self) -> Metric:
        buckets, total = [], 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._observer.seconds_buckets, strict=True):
            total += count
            buckets.append((bound, total))
        return HistogramMetricFamily(
            "farebox_request_seconds", "Time to a whole answer.", buckets, self._observer.seconds_sum
        )

    def _counts(self) -> list[tuple[str, str, float]]:
        wallets, commits, observer = self._wallets, self._commits, self._observer
        return [
            ("farebox_ledger_holds", "Holds taken.", wallets.holds),
            ("farebox_ledger_posts", "Holds posted.", wallets.posts),
            ("farebox_ledger_voids", "Holds voided.", wallets.voids),
            ("farebox_ledger_refusals", "Holds refused for want of credit.", wallets.refusals),
            (
                "farebox_ledger_leakage",
                "What wallets could not pay, in the currency.",
                wallets.leakage_nano / NANO,
            ),
            ("farebox_usage_doubted", "Calls whose provider's count is not to be believed.", wallets.doubted),
            ("farebox_ledger_batches", "Commits.", commits.batches),
            ("farebox_ledger_batch_operations", "Operations in all commits.", commits.operations),
            ("farebox_ledger_patient_batches", "Commits that waited for another process.", commits.patient),
            ("farebox_tokens_in", "Tokens charged, input.", observer.tokens_in),
            ("farebox_tokens_out", "Tokens charged, output.", observer.tokens_out),
        ]


def _is_loopback(peer: str) -> bool:
    try:
        return ip_address(peer).is_loopback
    except ValueError:
        return False
