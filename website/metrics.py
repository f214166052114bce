"""The site's metrics for Prometheus, on a port of their own.

`declared` has each. Requests and statements are counted by django-prometheus, of whose metrics only
those that are declared are exposed.

A process has one port and its own numbers. Several processes are several targets, which Prometheus
sums; files that they would share, as prometheus_client's multiprocess mode has them, would need a
directory to be emptied, and know nothing of a process's memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

# django-prometheus has no type hints.
from django.conf import settings
from django.http import HttpRequest
from django.urls import URLPattern, get_resolver
from django_prometheus import middleware  # type: ignore[import-untyped]
from django_prometheus.db import metrics as statements  # type: ignore[import-untyped]
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from website import __version__, cgroup
from website.declared import ALIASES, METHODS, METRICS, SHARES
from website.environment import SettingError
from website.health import Readiness

REGISTRY: Final = CollectorRegistry()
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asks for
# There from the beginning, or `increase()` would miss the first of them.
FAULTS: Final = ("500", "503")


_NAMES: Final = {one.name.removesuffix("_total"): one.meaning for one in METRICS}


def _counter(name: str, *labels: str) -> Counter:
    return Counter(name, _NAMES[name], labels, registry=REGISTRY)


def _gauge(name: str, *labels: str) -> Gauge:
    return Gauge(name, _NAMES[name], labels, registry=REGISTRY)


in_flight: Final = _gauge("website_requests_in_flight", "share")
refused: Final = _counter("website_requests_refused", "share")
constraint_violations: Final = _counter("website_constraint_violations")
_build: Final = _gauge("website_build_info", "version")


class _Counted(middleware.Metrics):  # type: ignore[misc]  # untyped base class
    """django-prometheus' metrics; those that are not in METRICS are counted and not exposed."""

    def register_metric(
        self, kind: Any, name: str, documentation: str, labelnames: Sequence[str] = (), **more: Any
    ) -> Any:
        """Make a metric, and expose it if it is declared."""
        exposed = name.removesuffix("_total") in _NAMES or name in _NAMES
        registry = REGISTRY if exposed else None
        return kind(name, documentation, labelnames=labelnames, registry=registry, **more)


class Middleware(middleware.PrometheusAfterMiddleware):  # type: ignore[misc]  # untyped base class
    """Counts and times every answer, those of the other middleware too: it has to be outermost."""

    metrics_cls = _Counted

    def label_metric(
        self, metric: Any, request: HttpRequest, response: Any = None, **labels: str
    ) -> Any:
        """Return the metric's series. Any word can be a method: only those that exist get one."""
        if "method" in labels:
            labels["method"] = self._method(request)
        return super().label_metric(metric, request, response, **labels)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Count what nothing expected; its answer is counted and timed like any other."""
        kind = type(exception).__name__
        self.label_metric(self.metrics.exceptions_by_type, request, type=kind).inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The clients' connections: requests that wait for a thread, open ones, and those cut short."""

    queued: int
    connected: int
    shed: int


class _Clients(Collector):
    """What the server counts, when it is asked."""

    def __init__(self, count: Callable[[], Clients]) -> None:
        self._count = count

    def collect(self) -> Iterator[Metric]:
        clients = self._count()
        yield _gauge_now("website_requests_queued", clients.queued)
        yield _gauge_now("website_connections", clients.connected)
        yield _counted_by_others("website_connections_shed", clients.shed)


class _Database(Collector):
    """What readiness found, when it is asked."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        yield _gauge_now("website_database_up", float(self._readiness.fault is None))
        connections = self._readiness.connections
        if connections is not None:
            yield _gauge_now("website_database_connections", connections.used)
            yield _gauge_now("website_database_connections_allowed", connections.allowed)


class _ControlGroup(Collector):
    """What the kernel says of the container, when it is asked."""

    def collect(self) -> Iterator[Metric]:
        memory, cpu = cgroup.memory(), cgroup.cpu()
        if memory is not None:
            yield _gauge_now("website_cgroup_memory_bytes", memory.used_bytes)
            yield _gauge_now("website_cgroup_memory_limit_bytes", memory.limit_bytes)
            yield _counted_by_others("website_cgroup_oom_kills", memory.oom_kills)
        if cpu is not None:
            yield _counted_by_others("website_cgroup_cpu_seconds", cpu.used_s)
            yield _counted_by_others("website_cgroup_cpu_throttled_seconds", cpu.throttled_s)
            yield _gauge_now("website_cgroup_cpu_limit_cores", cpu.limit_cores)


def _gauge_now(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name, _NAMES[name], value=value)


def _counted_by_others(name: str, value: float) -> Metric:
    return CounterMetricFamily(name, _NAMES[name], value=value)


def serve(*, host: str, port: int, readiness: Readiness, clients: Callable[[], Clients]) -> int:
    """Serve the metrics from a thread of its own until the process ends; return the port.

    Raises SettingError if the address can't be listened on.
    """
    _build.labels(__version__).set(1)
    _begin_at_zero()
    for metric in (
        statements.connections_total,
        statements.connection_errors_total,
        statements.execute_total,
        statements.errors_total,
        statements.query_duration_seconds,
        _Clients(clients),
        _Database(readiness),
        _ControlGroup(),
    ):
        REGISTRY.register(metric)
    ProcessCollector(registry=REGISTRY)
    try:
        server, _ = start_http_server(port, addr=host, registry=REGISTRY)
    except OSError as exc:
        raise SettingError(
            f"METRICS_PORT: cannot listen on {host}:{port} ({exc.strerror})"
        ) from exc
    return int(server.server_port)


def _begin_at_zero() -> None:
    for share in SHARES:
        in_flight.labels(share)
        refused.labels(share)
    by_status = _Counted.get_instance().responses_by_status_view_method
    for view, methods in _views():
        for method in methods:
            for status in FAULTS:
                by_status.labels(status, view, method)
    vendor = (
        "sqlite" if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3") else "postgresql"
    )
    for alias in ALIASES:
        statements.connection_errors_total.labels(alias, vendor)


def _views() -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the name of each view of the API, and the methods that it takes."""
    for pattern in get_resolver().url_patterns:
        if isinstance(pattern, URLPattern) and pattern.name:
            kind = getattr(pattern.callback, "view_class", None)
            names = [name for name in METHODS if kind and hasattr(kind, name.lower())]
            yield pattern.name, names or ["GET"]
