"""What can be watched of an operator: every number that /metrics shows, by its one name.

Set by the rooms that know the number; served by `health`. No label holds a name that a user chose.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

API_REQUESTS: Final = Counter(
    "adit_kubernetes_api_requests",
    "Requests to the API server; code is `none` if it gave no answer",
    ["verb", "kind", "code"],
)
LEADER: Final = Gauge("adit_operator_leader", "1 while this replica leads")
RECONCILE_SECONDS: Final = Histogram(
    "adit_operator_reconcile_seconds",
    "How long one pass over a part of the work took",
    ["part"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60),
)
LAUNCHES: Final = Counter("adit_operator_launches", "Attempts for which a Job was asked", ["result"])
RUNNING_ATTEMPTS: Final = Gauge("adit_operator_running_attempts", "Attempts that run or are being started")
OLDEST_DUE_SECONDS: Final = Gauge(
    "adit_operator_oldest_due_task_age_seconds", "How long the longest waiting due task has waited; 0 if none is due"
)
SWEEP_CORRECTIONS: Final = Counter(
    "adit_operator_sweep_corrections", "What a sweep had to mend, as no event had told of it; about 0", ["correction"]
)
LEDGER_FAILURES: Final = Counter(
    "adit_operator_ledger_failures", "Steps that failed because the ledger could not be reached"
)
FOREIGN_NAMESPACES: Final = Gauge(
    "adit_operator_foreign_namespaces", "Namespaces that are left alone, as another release serves them; should be 0"
)
OPEN_JOBS: Final = Gauge("adit_operator_open_jobs", "TransferJobs that have not ended")
WAITING_TASKS: Final = Gauge("adit_operator_waiting_tasks", "Tasks that wait for their first or next attempt")
STATUS_WRITES: Final = Counter("adit_operator_status_writes", "Status objects written to the API server", ["kind"])
