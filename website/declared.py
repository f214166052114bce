"""Every metric of the site: what it means, and which question it answers.

docs/metrics.md is made of this, and a test holds both against what is exposed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
SHARES: Final = ("api", "strangers", "admin", "login")  # of `settings.REQUESTS_AT_ONCE`


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A metric, by the name under which it is queried; a histogram's is without its suffixes.

    `labels` has, for each label, all its values, or words for where they come from.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    meaning: str
    question: str
    unit: str = ""
    labels: Mapping[str, Sequence[str] | str] = field(default_factory=dict)


_VIEW: Final = (
    "the API's `healthcheck`, `live`, `capabilities`, `digests`, `roles`, `role`, `users`,"
    " `bulk_patch`, `user`; the admin's `admin:…`; `static`; `<unnamed view>` for what reached none"
)
ALIASES: Final = ("default", "readiness")  # the site's own, and that of its look for readiness
_DATABASE: Final = {"alias": ALIASES, "vendor": ("postgresql", "sqlite")}

METRICS: Final = (
    # -- does it answer? -------------------------------------------------------------------------
    Declared(
        name="django_http_responses_total_by_status_view_method_total",
        type="counter",
        unit="answers",
        labels={"status": "HTTP statuses that were answered", "view": _VIEW, "method": METHODS},
        meaning="Answers, by status and view; those with 500 and 503 are there from the start",
        question="Which part of the answers are errors, and of what?",
    ),
    Declared(
        name="django_http_requests_latency_seconds_by_view_method",
        type="histogram",
        unit="s",
        labels={"view": _VIEW, "method": METHODS},
        meaning="How long requests took, from the thread that took them to their answer",
        question="Is the site slow, and where?",
    ),
    Declared(
        name="django_http_requests_body_total_bytes",
        type="histogram",
        unit="bytes",
        meaning="How large requests' bodies were",
        question="Does somebody send the site more at once than it should have to hold?",
    ),
    Declared(
        name="django_http_exceptions_total_by_type_total",
        type="counter",
        unit="errors",
        labels={"type": "names of the exceptions that the site's code and libraries raise"},
        meaning="Requests that ended in an exception that nothing expected",
        question="Is there a bug, and is it one or several?",
    ),
    Declared(
        name="website_requests_in_flight",
        type="gauge",
        unit="requests",
        labels={"share": SHARES},
        meaning="Requests under way, by whose share of the threads they take",
        question="Who keeps the site busy now?",
    ),
    Declared(
        name="website_requests_refused_total",
        type="counter",
        unit="requests",
        labels={"share": SHARES},
        meaning="Requests that were answered 503 at once because their share was taken",
        question="Does anybody hear 503 because the site is too busy?",
    ),
    Declared(
        name="website_requests_queued",
        type="gauge",
        unit="requests",
        meaning="Requests that have arrived and wait for a thread",
        question="Do requests wait before anything is done for them?",
    ),
    Declared(
        name="website_connections",
        type="gauge",
        unit="connections",
        meaning="Connections of clients that are open",
        question="How many are connected?",
    ),
    Declared(
        name="website_connections_shed_total",
        type="counter",
        unit="connections",
        meaning="Connections that were closed since their clients took too long or were too many",
        question="Does somebody hold connections, or cut them short?",
    ),
    # -- does the database? ----------------------------------------------------------------------
    Declared(
        name="website_database_up",
        type="gauge",
        meaning="1 if a new connection was made and a statement answered within the last seconds",
        question="Could the site work, if it were asked now?",
    ),
    Declared(
        name="website_database_connections",
        type="gauge",
        unit="connections",
        meaning="Connections that the PostgreSQL server has, of all its clients",
        question="How close is the database to refusing us?",
    ),
    Declared(
        name="website_database_connections_allowed",
        type="gauge",
        unit="connections",
        meaning="Connections that it allows to clients without special rights",
        question="How close is the database to refusing us?",
    ),
    Declared(
        name="website_constraint_violations_total",
        type="counter",
        unit="errors",
        meaning="Requests that broke a constraint of the database and were answered 500",
        question="Does the database refuse rows that the site took for right?",
    ),
    Declared(
        name="django_db_new_connections_total",
        type="counter",
        unit="connections",
        labels=_DATABASE,
        meaning="Connections to the database that were opened, or tried to",
        question="Are connections kept?",
    ),
    Declared(
        name="django_db_new_connection_errors_total",
        type="counter",
        unit="errors",
        labels=_DATABASE,
        meaning="Connections to the database that could not be opened",
        question="Does the database refuse connections?",
    ),
    Declared(
        name="django_db_execute_total",
        type="counter",
        unit="statements",
        labels=_DATABASE,
        meaning="Statements that were run",
        question="How much does the site ask of the database?",
    ),
    Declared(
        name="django_db_errors_total",
        type="counter",
        unit="errors",
        labels={**_DATABASE, "type": "names of the database driver's exceptions"},
        meaning="Statements that failed",
        question="What does the database complain of?",
    ),
    Declared(
        name="django_db_query_duration_seconds",
        type="histogram",
        unit="s",
        labels=_DATABASE,
        meaning="How long statements took",
        question="Is it the database that is slow?",
    ),
    # -- what does it take? ----------------------------------------------------------------------
    Declared(
        name="website_cgroup_memory_bytes",
        type="gauge",
        unit="bytes",
        meaning=(
            "Memory of the container that the kernel can't take back, of all processes in it;"
            " absent where nothing limits it"
        ),
        question="How close is the site to being killed for want of memory?",
    ),
    Declared(
        name="website_cgroup_memory_limit_bytes",
        type="gauge",
        unit="bytes",
        meaning="Where the kernel starts to kill; absent where nothing limits it",
        question="How close is the site to being killed for want of memory?",
    ),
    Declared(
        name="website_cgroup_oom_kills_total",
        type="counter",
        unit="processes",
        meaning="Processes of the container that the kernel killed for want of memory",
        question="Was it killed?",
    ),
    Declared(
        name="website_cgroup_cpu_seconds_total",
        type="counter",
        unit="s",
        meaning="Processor time of the container; absent where nothing limits it",
        question="Is it at its limit?",
    ),
    Declared(
        name="website_cgroup_cpu_throttled_seconds_total",
        type="counter",
        unit="s",
        meaning="For how long it was kept from running by its limit",
        question="Is it slow because of its limit?",
    ),
    Declared(
        name="website_cgroup_cpu_limit_cores",
        type="gauge",
        unit="cores",
        meaning="How many cores it may use",
        question="Is it at its limit?",
    ),
    Declared(
        name="process_resident_memory_bytes",
        type="gauge",
        unit="bytes",
        meaning="Memory of this process",
        question="Does a process grow?",
    ),
    Declared(
        name="process_virtual_memory_bytes",
        type="gauge",
        unit="bytes",
        meaning="Address space of this process",
        question="Does a process grow?",
    ),
    Declared(
        name="process_cpu_seconds_total",
        type="counter",
        unit="s",
        meaning="Processor time of this process",
        question="Which process is busy?",
    ),
    Declared(
        name="process_start_time_seconds",
        type="gauge",
        unit="s since 1970",
        meaning="When this process started",
        question="Does it restart, and how often?",
    ),
    Declared(
        name="process_open_fds",
        type="gauge",
        unit="files",
        meaning="Files and connections that this process has open",
        question="Does it leak them?",
    ),
    Declared(
        name="process_max_fds",
        type="gauge",
        unit="files",
        meaning="How many it may have open",
        question="Does it leak them?",
    ),
    Declared(
        name="website_build_info",
        type="gauge",
        labels={"version": "the version"},
        meaning="1",
        question="Which version runs?",
    ),
)
