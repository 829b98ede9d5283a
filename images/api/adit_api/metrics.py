"""What Prometheus is told. Labels are of closed sets: routes, methods, statuses; never a job, a node or a person."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

REQUESTS: Final = Counter(
    "adit_api_requests", "Requests that were answered.", ["method", "route", "status"], registry=REGISTRY
)
SECONDS: Final = Histogram(
    "adit_api_request_seconds", "Time until the whole answer was sent, streams of events left out.", ["route"],
    registry=REGISTRY,
)  # fmt: skip
STREAMS: Final = Gauge("adit_api_streams", "Open streams of a job's progress.", registry=REGISTRY)
REFUSED: Final = Counter(
    "adit_api_refused", "Requests that were refused before they were looked at.", ["why"], registry=REGISTRY
)
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
