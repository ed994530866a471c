"""What /metrics says: the transport's counters and the process's figures in the text form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from towerlog.ambient import Clock
from towerlog.asgi.guard.arrivals import Arrivals
from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.guard.limits import Limiter
from towerlog.asgi.pages.meters import BUCKETS_MS, Meters
from towerlog.asgi.process.loop_watch import MAX_BLOCK_MS, LoopWatch
from towerlog.asgi.push.sockets import Sockets
from towerlog.asgi.push.streams import Streams
from towerlog.asgi.routes import PageRoute, PageVisit
from towerlog.asgi.shares.share import Resource
from towerlog.dialects.base import PLAIN_TEXT, Reply
from towerlog.engine.commit.waits import CommitWaits
from towerlog.errors import Forbidden, StorageFailed, Unauthenticated
from towerlog.model.principal import Scope
from towerlog.model.run import Status
from towerlog.store.stock import Stock

_NO_STORE = (b"cache-control", b"no-store")


class TransportCollector(Collector):
    """Reads the counters when it is asked, so that counting costs the requests nothing more."""

    def __init__(self, meters: Meters, streams: Streams, arrivals: Arrivals, limiters: Mapping[str, Limiter]) -> None:
        """All four are the transport's own."""
        self._meters = meters
        self._streams = streams
        self._arrivals = arrivals
        self._limiters = limiters

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._requests()
        yield from self._gauges()
        refused = CounterMetricFamily("towerlog_rate_limited", "Requests over a rate limit.", labels=["dialect"])
        for name, limiter in self._limiters.items():
            refused.add_metric([name], limiter.refused)
        yield refused
        yield CounterMetricFamily(
            "towerlog_overloaded", "Requests refused for want of room.", self._arrivals.ledger.refused
        )
        lacking = "Requests for which there was too little memory."
        count = self._meters.out_of_memory + self._arrivals.out_of_memory
        yield CounterMetricFamily("towerlog_out_of_memory", lacking, count)
        yield CounterMetricFamily("towerlog_streams_opened", "Streams opened.", self._streams.opened)
        cut = "Connections cut off because nobody took the reply or the stream."
        yield CounterMetricFamily("towerlog_readers_cut", cut, self._arrivals.readers_cut)

    def _requests(self) -> Iterator[Metric]:
        counted = CounterMetricFamily("towerlog_requests", "Requests answered.", labels=["dialect", "status"])
        warned = CounterMetricFamily(
            "towerlog_field_warnings", "Fields stored as sent but not used, or repaired.", labels=["dialect"]
        )
        timed = HistogramMetricFamily("towerlog_request_seconds", "From request to reply.", labels=["dialect"])
        for name, meter in self._meters.by_dialect.items():
            for status, count in sorted(meter.statuses.items()):
                counted.add_metric([name, str(status)], count)
            buckets: list[tuple[str, float]] = []
            total = 0
            for edge, count in zip((*BUCKETS_MS, None), meter.counts, strict=True):
                total += count
                buckets.append(("+Inf" if edge is None else str(edge / 1000), total))
            timed.add_metric([name], buckets, meter.total_ms / 1000)
            warned.add_metric([name], meter.warnings)
        yield counted
        yield warned
        yield timed

    def _gauges(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("towerlog_streams_open", "Streams open now.", len(self._streams))
        process = self._arrivals.ledger.process
        held = process.held_bytes
        yield GaugeMetricFamily("towerlog_bytes_in_flight", "Bytes of bodies and of replies in hand.", held)
        polls, connections = process.places[Resource.POLL], process.places[Resource.CONNECTION]
        yield GaugeMetricFamily("towerlog_polls_open", "Long polls that wait now.", polls)
        yield GaugeMetricFamily("towerlog_connections_open", "Connections open now.", connections)


class PushCollector(Collector):
    """The sockets of live push."""

    def __init__(self, sockets: Sockets) -> None:
        """`sockets` are all of them."""
        self._sockets = sockets

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield GaugeMetricFamily("towerlog_sockets_open", "Sockets of live push open now.", len(self._sockets))
        yield CounterMetricFamily("towerlog_sockets_opened", "Sockets of live push opened.", self._sockets.opened)
        dropped = "Sockets of live push that were ended because they took too little or said too much."
        yield CounterMetricFamily("towerlog_sockets_dropped", dropped, self._sockets.dropped)


class EngineCollector(Collector):
    """The engine's own counts."""

    def __init__(self, figures: Callable[[], Mapping[str, int]], waits: CommitWaits) -> None:
        """`figures` gives the counts of `Engine.figures` as they are now."""
        self._figures = figures
        self._waits = waits

    def collect(self) -> Iterator[Metric]:
        """All families."""
        figures = self._figures()
        yield CounterMetricFamily("towerlog_commands", "Commands carried out.", figures["commands"])
        yield CounterMetricFamily("towerlog_commits", "Groups of commands committed.", figures["groups"])
        waited = "Commits that ended from when a command came to its own, which is counted as well."
        told = HistogramMetricFamily("towerlog_command_commits", waited)
        buckets = [("+Inf" if edge is None else f"{edge}.0", count) for edge, count in self._waits.up_to()]
        told.add_metric([], buckets, self._waits.sum)
        yield told
        yield GaugeMetricFamily("towerlog_commit_queue", "Commands that wait for the next commit.", figures["queue"])
        writes = "Groups that took over a second to be placed and committed, while all others waited to write."
        yield CounterMetricFamily("towerlog_long_writes", writes, figures["long_writes"])
        longest = "The longest that a group has so kept the others waiting since the start."
        yield GaugeMetricFamily("towerlog_longest_write_seconds", longest, figures["longest_write_ms"] / 1000)
        yield GaugeMetricFamily("towerlog_followers", "Readers of the log.", figures["followers"])
        refused = "1 while nothing can be stored: the disk is full, or the last write was refused for another reason."
        yield GaugeMetricFamily("towerlog_writes_refused", refused, figures["writes_refused"])
        failed = "Checkpoints of the write-ahead log that failed."
        yield CounterMetricFamily("towerlog_checkpoints_failed", failed, figures["failed_checkpoints"])
        free, guard = figures["disk_free_bytes"], figures["disk_guard_bytes"]
        yield GaugeMetricFamily("towerlog_disk_free_bytes", "Room on the disk of the store.", free)
        yield GaugeMetricFamily("towerlog_disk_guard_bytes", "Below this much room writes are refused.", guard)
        damaged = "Events and contents that were read and are damaged in the store."
        yield CounterMetricFamily("towerlog_damaged_reads", damaged, figures["damaged"])
        failed = "Reads of the store that failed with an I/O error or on damaged pages."
        yield CounterMetricFamily("towerlog_read_failures", failed, figures["read_failures"])
        off = "How far the wall clock is ahead, or behind (below 0), while that holds back deletion by age; else 0."
        yield GaugeMetricFamily("towerlog_clock_off_seconds", off, figures["clock_off_seconds"])
        given_up = "Messages to people that were given up after their last attempt."
        yield CounterMetricFamily("towerlog_deliveries_given_up", given_up, figures["deliveries_given_up"])
        if "spans_forwarded" in figures:
            yield from _forwarding(figures)
        yield GaugeMetricFamily("towerlog_nodes", "Nodes of the store, as this one knows.", figures["nodes"])
        leads = "1 while this node does what one alone does: what time brings about, and messages to people."
        yield GaugeMetricFamily("towerlog_leads", leads, figures["leads"])


def _forwarding(figures: Mapping[str, int]) -> Iterator[Metric]:
    """What is forwarded to a collector, where there is one."""
    sent = "Spans that the collector has taken."
    yield CounterMetricFamily("towerlog_forwarded_spans", sent, figures["spans_forwarded"])
    refused = "Spans that the collector has refused for good."
    yield CounterMetricFamily("towerlog_forwarding_refused_spans", refused, figures["spans_refused"])
    failures = "Requests to the collector that were not answered, or by an error, and were made again."
    yield CounterMetricFamily("towerlog_forwarding_failures", failures, figures["forwarding_failures"])
    behind = "Events of the log that were not looked at yet for what is to be forwarded."
    yield GaugeMetricFamily("towerlog_forwarding_behind_events", behind, figures["forwarding_behind"])


class LoopCollector(Collector):
    """How long the event loop was blocked."""

    def __init__(self, watch: LoopWatch) -> None:
        """`watch` measures."""
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """All families."""
        over, longest_s = self._watch.over, self._watch.longest_ms / 1000
        blocks = (
            f"Blocks of the event loop of over {MAX_BLOCK_MS} ms of processor time; waiting for a disk is not seen."
        )
        yield CounterMetricFamily("towerlog_loop_blocks", blocks, over)
        longest = "The longest block since the start, in processor time."
        yield GaugeMetricFamily("towerlog_loop_longest_block_seconds", longest, longest_s)


class StockCollector(Collector):
    """What the store holds, as it was last asked for: the page asks before it shows."""

    def __init__(self) -> None:
        """Knows nothing yet."""
        self.stock: Stock | None = None
        self.now_ms = 0

    def collect(self) -> Iterator[Metric]:
        """All families; none before the first answer."""
        stock = self.stock
        if stock is None:
            return
        yield CounterMetricFamily("towerlog_events", "Events in all logs.", stock.events)
        runs = GaugeMetricFamily("towerlog_runs", "Runs by status.", labels=["status"])
        for status in Status:
            runs.add_metric([status.value], stock.runs.get(status.value, 0))
        yield runs
        yield GaugeMetricFamily("towerlog_runs_silent", "Open runs that have sent nothing for long.", stock.silent)
        lanes = GaugeMetricFamily("towerlog_run_queue", "Runs for workers, by state.", labels=["state"])
        lanes.add_metric(["queued"], stock.queued)
        lanes.add_metric(["held"], stock.held)
        yield lanes
        oldest = stock.oldest_queued_at
        waited_s = 0.0 if oldest is None else max(self.now_ms - oldest, 0) / 1000
        yield GaugeMetricFamily("towerlog_run_queue_oldest_seconds", "Age of the oldest queued run.", waited_s)
        files = GaugeMetricFamily("towerlog_store_bytes", "Size of the store's files.", labels=["file"])
        files.add_metric(["database"], stock.database_bytes)
        files.add_metric(["wal"], stock.wal_bytes)
        yield files


class Metrics:
    """The registry of one app; nothing of it is global, so that tests can have many."""

    def __init__(self, *collectors: Collector) -> None:
        """`collectors` are asked each time; the process's own figures come on top."""
        self._registry = CollectorRegistry(auto_describe=False)
        self.stock = StockCollector()
        self._registry.register(self.stock)
        ProcessCollector(registry=self._registry)
        for collector in collectors:
            self._registry.register(collector)

    def render(self) -> bytes:
        """The text."""
        return generate_latest(self._registry)


class MetricsPage:
    """`/metrics`."""

    def __init__(self, *, is_public: bool) -> None:
        """`is_public`: anybody may see it. Served after `attach`."""
        self._is_public = is_public
        self._auth: Authenticator | None = None
        self._metrics: Metrics | None = None
        self._take_stock: Callable[[], Awaitable[Stock]] | None = None
        self._clock: Clock | None = None

    def attach(
        self, auth: Authenticator, metrics: Metrics, take_stock: Callable[[], Awaitable[Stock]], clock: Clock
    ) -> None:
        """`metrics` are shown, to whom `auth` knows; `take_stock` counts what the store holds."""
        self._auth, self._metrics, self._take_stock, self._clock = auth, metrics, take_stock, clock

    def route(self) -> PageRoute:
        """The page."""
        return PageRoute(
            "GET",
            "/metrics",
            "metrics",
            "Metrics of the server, in Prometheus' text format.",
            self.show,
            public=True,
            access="From this machine no key is needed, from others an admin key, unless `metrics_public` is set.",
            reply_type=PLAIN_TEXT,
            refuses=(Unauthenticated, Forbidden),
        )

    async def show(self, visit: PageVisit) -> Reply:
        """For this machine, for everybody if the settings say so, else for an admin key."""
        assert self._metrics is not None
        assert self._auth is not None
        if not visit.is_local and not self._is_public:
            principal = await self._auth.authenticate(visit.headers, visit.steady_ms)
            if Scope.ADMIN not in principal.scopes:
                raise Forbidden.lacking((Scope.ADMIN,), principal.scopes)
        assert self._take_stock is not None
        assert self._clock is not None
        try:
            self._metrics.stock.stock = await self._take_stock()
        except StorageFailed:
            # The process's own figures are what is needed then.
            self._metrics.stock.stock = None
        self._metrics.stock.now_ms = self._clock.now_ms()
        return Reply(200, self._metrics.render(), PLAIN_TEXT, (_NO_STORE,))
