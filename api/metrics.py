"""What Prometheus may ask of a process: counters and histograms, and gauges read from the database."""

from prometheus_client import Counter, Histogram

REQUESTS = Histogram(
    "tilewright_request_seconds",
    "Time until a response was complete",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
LOOKUPS = Counter("tilewright_lookups", "Lookups by outcome", ["outcome"])
