"""Make Grafana's dashboards: `python -m tests.deploy.dashboards` writes deploy/grafana/dashboards.

They are built by Grafana's own foundation SDK, whose types are Grafana's schema. Each panel answers
a question, which is its description; a test asks each query of a Prometheus that has seen a sync.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIRECTORY: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
WINDOW: Final = "$__rate_interval"
_SOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="prometheus")

Unit = Literal["short", "s", "bytes", "percentunit", "reqps", "ops", "cores", "dateTimeFromNow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked of Prometheus, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel; `now` shows one number, coloured from `bad` on, instead of a curve."""

    title: str
    question: str
    queries: Sequence[Query]
    unit: Unit = "short"
    now: bool = False
    bad: float | None = None
    stacked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard: its panels under headings."""

    uid: str
    title: str
    rows: dict[str, Sequence[Panel]] = field(default_factory=dict)

    def queries(self) -> Iterator[tuple[str, Query]]:
        """Yield each query with its panel's title."""
        for panels in self.rows.values():
            for panel in panels:
                for query in panel.queries:
                    yield panel.title, query


def number(
    title: str, question: str, expr: str, *, unit: Unit = "short", bad: float | None = None
) -> Panel:
    """Return a panel of one number."""
    query = Query(expr=expr)
    return Panel(title=title, question=question, queries=[query], unit=unit, now=True, bad=bad)


def curve(
    title: str,
    question: str,
    *queries: tuple[str, str],
    unit: Unit = "short",
    stacked: bool = False,
) -> Panel:
    """Return a panel of curves; each query with what its series are called."""
    asked = [Query(expr=expr, legend=legend) for expr, legend in queries]
    return Panel(title=title, question=question, queries=asked, unit=unit, stacked=stacked)


def rate(name: str, by: str, where: str = "") -> str:
    """Return the sum of a counter's rates."""
    return f"sum by ({by}) (rate({name}{where}[{WINDOW}]))"


def quantile(part: float, name: str, by: str = "le", where: str = "") -> str:
    """Return a quantile of a histogram."""
    return f"histogram_quantile({part}, {rate(f'{name}_bucket', by, where)})"


def mean(name: str) -> str:
    """Return the mean of what a histogram saw."""
    return f"sum(rate({name}_sum[{WINDOW}])) / sum(rate({name}_count[{WINDOW}]))"


ANSWERS: Final = "django_http_responses_total_by_status_view_method_total"
LATENCY: Final = "django_http_requests_latency_seconds_by_view_method"
WORK: Final = '{view!~"healthcheck|live"}'

SYNC: Final = Board(
    uid="guild-sync",
    title="Sync",
    rows={
        "Is the site in step?": [
            number(
                "Last verified",
                "When did somebody last see that it is?",
                "max(sync_last_verified_timestamp_seconds) * 1000",
                unit="dateTimeFromNow",
            ),
            number("Breaker open", "Are writes stopped?", "max(sync_breaker_open)", bad=1),
            number("Failures in a row", "How close is it?", "max(sync_failures_in_a_row)", bad=1),
            number("Waiting", "How much is not written yet?", "max(sync_dirty_ids)"),
            number(
                "Oldest change",
                "Since when?",
                "max(sync_oldest_change_seconds)",
                unit="s",
                bad=1800,
            ),
            number("Parked", "Who is left out?", "max(sync_parked_rows)", bad=1),
            number("Untold", "Do moderators hear of it?", "max(sync_alerts_waiting)", bad=1),
            number("Leading", "Does exactly one bot act?", "sum(sync_leading)"),
        ],
        "A run": [
            curve(
                "At work",
                "When was a sync on, and was the breaker open?",
                ("max(sync_run_in_progress)", "a run is on"),
                ("max(sync_breaker_open)", "breaker open"),
                ("max(sync_paused)", "paused"),
            ),
            curve(
                "Rows sent",
                "How fast does it write?",
                (f"sum(rate(sync_chunk_rows_sum[{WINDOW}]))", "rows a second"),
                unit="ops",
            ),
            curve(
                "Rows a request",
                "How much does the site take at once?",
                (mean("sync_chunk_rows"), "mean"),
            ),
            curve(
                "Time a write takes",
                "For how long does one hold the site?",
                (quantile(0.5, "sync_chunk_seconds"), "half"),
                (quantile(0.95, "sync_chunk_seconds"), "19 of 20"),
                unit="s",
            ),
            curve(
                "Requests, by what was answered",
                "Does the site do its part?",
                (rate("sync_requests_total", "outcome"), "{{outcome}}"),
                unit="reqps",
                stacked=True,
            ),
            curve(
                "Failures, by kind",
                "How does it fail?",
                (rate("sync_request_failures_total", "kind"), "{{kind}}"),
                unit="reqps",
                stacked=True,
            ),
            curve(
                "Runs that ended",
                "How do they end?",
                ("sum by (ending) (increase(sync_runs_total[1h]))", "{{ending}}, in an hour"),
            ),
            curve(
                "How long runs take",
                "Longer than they did?",
                ("sum by (kind) (sync_run_seconds_sum)", "{{kind}}, of all runs"),
                unit="s",
            ),
        ],
        "Live changes": [
            curve(
                "Waiting",
                "Does it keep up?",
                ("max(sync_dirty_ids)", "changes"),
            ),
            curve(
                "Lag",
                "How soon does a change reach the site?",
                (quantile(0.95, "sync_change_lag_seconds"), "19 of 20"),
                ("max(sync_oldest_change_seconds)", "the oldest that waits"),
                unit="s",
            ),
        ],
        "What to trust": [
            curve(
                "Members",
                "Is Discord's list whole?",
                ("max by (proof) (sync_members)", "{{proof}}"),
            ),
            curve(
                "Drift",
                "Did live changes miss something?",
                ("max by (reason) (sync_drift_rows)", "{{reason}}"),
            ),
            curve(
                "Set aside",
                "What waits for a person?",
                ("max(sync_parked_rows)", "parked"),
                ("max by (what) (sync_withheld)", "withheld {{what}}"),
                ("max(sync_alerts_waiting)", "alerts that are not told"),
            ),
        ],
        "The bot": [
            curve(
                "Connected",
                "To Discord, its store, mod-log?",
                ("max(bot_gateway_connected)", "Discord"),
                ("max(sync_store_usable)", "store"),
                ("max(sync_mod_log_usable)", "mod-log"),
                ("max(sync_guild_readable)", "server"),
            ),
            curve(
                "Loop lag",
                "Does something keep it from its work?",
                (quantile(0.99, "bot_loop_lag_seconds"), "99 of 100"),
                unit="s",
            ),
            curve(
                "Memory",
                "Does it grow?",
                ('process_resident_memory_bytes{job="bot"}', "{{instance}}"),
                unit="bytes",
            ),
            curve(
                "Processor",
                "Is it busy?",
                (rate("process_cpu_seconds_total", "instance", '{job="bot"}'), "{{instance}}"),
                unit="cores",
            ),
        ],
    },
)

WEBSITE: Final = Board(
    uid="guild-sync-website",
    title="Website",
    rows={
        "Is it well?": [
            number("Database", "Could it work now? 1: yes", "min(website_database_up)"),
            number("Under way", "How busy is it?", "sum(website_requests_in_flight)"),
            number(
                "Errors",
                "Which part of the answers is 5xx?",
                f'sum(rate({ANSWERS}{{status=~"5.."}}[{WINDOW}])) / sum(rate({ANSWERS}[{WINDOW}]))',
                unit="percentunit",
                bad=0.05,
            ),
            number(
                "19 of 20 within",
                "Is it slow?",
                quantile(0.95, LATENCY, where=WORK),
                unit="s",
                bad=2.5,
            ),
            number(
                "Memory of its limit",
                "How close is it to being killed?",
                "max(website_cgroup_memory_bytes / website_cgroup_memory_limit_bytes)",
                unit="percentunit",
                bad=0.85,
            ),
            number(
                "Database connections taken",
                "How close is the database to refusing us?",
                "max(website_database_connections / website_database_connections_allowed)",
                unit="percentunit",
                bad=0.8,
            ),
        ],
        "Requests": [
            curve(
                "Answers, by status",
                "What does it answer?",
                (rate(ANSWERS, "status"), "{{status}}"),
                unit="reqps",
                stacked=True,
            ),
            curve(
                "Requests, by view",
                "What is asked of it?",
                (rate(ANSWERS, "view"), "{{view}}"),
                unit="reqps",
                stacked=True,
            ),
            curve(
                "Time they take",
                "Is it slow?",
                (quantile(0.5, LATENCY, where=WORK), "half"),
                (quantile(0.95, LATENCY, where=WORK), "19 of 20"),
                (quantile(0.99, LATENCY, where=WORK), "99 of 100"),
                unit="s",
            ),
            curve(
                "Time they take, by view",
                "Where is it slow?",
                (quantile(0.95, LATENCY, "le, view"), "{{view}}"),
                unit="s",
            ),
            curve(
                "Under way, by whose share",
                "Who keeps it busy?",
                ("sum by (share) (website_requests_in_flight)", "{{share}}"),
                ("sum(website_requests_queued)", "waiting for a thread"),
                stacked=True,
            ),
            curve(
                "Refused and cut short",
                "Is it too busy for somebody?",
                (rate("website_requests_refused_total", "share"), "{{share}} refused"),
                (f"sum(rate(website_connections_shed_total[{WINDOW}]))", "connections cut"),
                unit="reqps",
            ),
            curve(
                "Size of requests",
                "Is more sent at once than it should have to hold?",
                (quantile(0.99, "django_http_requests_body_total_bytes"), "99 of 100"),
                unit="bytes",
            ),
            curve(
                "Connections",
                "How many are connected?",
                ("sum(website_connections)", "clients"),
            ),
        ],
        "Database": [
            curve(
                "Time statements take",
                "Is it the database that is slow?",
                (quantile(0.95, "django_db_query_duration_seconds"), "19 of 20"),
                unit="s",
            ),
            curve(
                "Statements",
                "How much is asked of it?",
                (rate("django_db_execute_total", "alias"), "{{alias}}"),
                unit="ops",
            ),
            curve(
                "Errors",
                "What does it complain of?",
                ("sum by (type) (django_db_errors_total)", "{{type}}"),
                ("sum(website_constraint_violations_total)", "constraints broken"),
                ("sum(django_db_new_connection_errors_total)", "connections refused"),
            ),
            curve(
                "Connections",
                "Does it run out of them?",
                ("max(website_database_connections)", "taken"),
                ("max(website_database_connections_allowed)", "allowed"),
            ),
        ],
        "What it takes": [
            curve(
                "Memory",
                "How close is it to its limit?",
                ("max(website_cgroup_memory_bytes)", "container"),
                ("max(website_cgroup_memory_limit_bytes)", "limit"),
                ('process_resident_memory_bytes{job="website"}', "{{instance}}"),
                unit="bytes",
            ),
            curve(
                "Processor",
                "Is it at its limit?",
                (f"max(rate(website_cgroup_cpu_seconds_total[{WINDOW}]))", "container"),
                ("max(website_cgroup_cpu_limit_cores)", "limit"),
                (f"max(rate(website_cgroup_cpu_throttled_seconds_total[{WINDOW}]))", "held back"),
                (rate("process_cpu_seconds_total", "instance", '{job="website"}'), "{{instance}}"),
                unit="cores",
            ),
            curve(
                "Age",
                "Does it restart?",
                ('time() - process_start_time_seconds{job="website"}', "{{instance}}"),
                unit="s",
            ),
            curve(
                "Killed for want of memory",
                "By the kernel, since the container started?",
                ("max(website_cgroup_oom_kills_total)", "processes"),
            ),
        ],
    },
)
BOARDS: Final = (SYNC, WEBSITE)


def built(board: Board) -> str:
    """Return a dashboard as Grafana reads it."""
    made = (
        grafana.Dashboard(board.title)
        .uid(board.uid)
        .tags(["guild-sync"])
        .timezone(common.TimeZoneBrowser)
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .refresh("15s")
        .readonly()
    )
    numbers = itertools.count(1)
    for title, panels in board.rows.items():
        made = made.with_row(grafana.Row(title).id(next(numbers)))
        for panel in panels:
            one = _stat(panel) if panel.now else _time_series(panel)
            made = made.with_panel(one.id(next(numbers)))
    text = JSONEncoder(sort_keys=True, indent=2).encode(made.build())
    return f"{json.dumps(json.loads(text), indent=2, ensure_ascii=False)}\n"


def _queries(panel: Panel) -> list[Dataquery]:
    return [
        Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + place))
        for place, query in enumerate(panel.queries)
    ]


def _stat(panel: Panel) -> Stat:
    steps = [dashboard.Threshold(value=None, color="green")]
    if panel.bad is not None:
        steps.append(dashboard.Threshold(value=panel.bad, color="red"))
    made = (
        Stat()
        .title(panel.title)
        .description(panel.question)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .height(4)
        .span(24 // 8)
        .thresholds(grafana.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps))
        .reduce_options(look.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for query in _queries(panel):
        made = made.with_target(query)
    return made


def _time_series(panel: Panel) -> TimeSeries:
    made = (
        TimeSeries()
        .title(panel.title)
        .description(panel.question)
        .datasource(_SOURCE)
        .unit("short" if panel.unit == "cores" else panel.unit)
        .min(0)
        .height(7)
        .span(24 // 3)
        .fill_opacity(20 if panel.stacked else 0)
    )
    if panel.stacked:
        made = made.stacking(look.StackingConfig().mode(common.StackingMode.NORMAL))
    for query in _queries(panel):
        made = made.with_target(query)
    return made


def file_of(board: Board) -> Path:
    """Return where a dashboard is kept."""
    return DIRECTORY / f"{board.uid}.json"


if __name__ == "__main__":
    for one in BOARDS:
        file_of(one).write_text(built(one), "utf-8")
