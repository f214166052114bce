"""What `make bench` measures, keeps, and says of its targets, without a server."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType, FunctionType

import pytest

from sandbox.bench import plain, plan
from sandbox.bench.asked import asked, bytes_of, phases
from sandbox.bench.bots import longest
from sandbox.bench.command import bench
from sandbox.bench.foreground import Heard, heard
from sandbox.bench.inside import TICK_S
from sandbox.bench.inside.sampler import place
from sandbox.bench.page import block
from sandbox.bench.pictures import Curves, draw
from sandbox.bench.plain import limit_mb
from sandbox.bench.profile import by_module
from sandbox.bench.results import DIRECTORY, Key, Measurement, Results, Span
from sandbox.bench.scenes import last_run
from sandbox.bench.targets import Sign, Target, failures, targets
from sandbox.servers import ServerError

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
PAGE = "# What it costs\n\n<!-- bench -->\nold\n<!-- end of bench -->\n\n## Digests\n"


def measured(name: str, said: str = "", /, **figures: float | tuple[float, ...]) -> Measurement:
    """Return a measurement named as its key is written; a figure alone is of one repetition."""
    site, case, members, way = name.split("/")
    return Measurement(
        key=Key(site, case, int(members), way),
        changes=1,
        figures={n: v if isinstance(v, tuple) else (v,) for n, v in figures.items()},
        said=said,
        at="2026-12-01T12:00:00+00:00",
        commit="0123456789",
        cores=2,
    )


def request(
    id_: str, *, at_s: float, took_s: float = 1.0, method: str = "GET", **more: object
) -> Mapping[str, object]:
    """Return a line of a site's log."""
    return {
        "event": "website.request.finished",
        "request_id": id_,
        "method": method,
        "path": "/api/bot/users" if method == "GET" else "/api/bot/users/bulk_patch",
        "rows": 10,
        "started_at": (NOON + timedelta(seconds=at_s)).isoformat(),
        "duration_ms": took_s * 1_000,
        **more,
    }


class TestTargets:
    """What is said of a promise."""

    @pytest.mark.parametrize(
        ("figure", "goal", "sign", "line"),
        [
            (1.1, 1.1, Sign.MOST, "target: x: 1.1 s (goal ≤ 1.1 s): met"),
            (1.11, 1.1, Sign.MOST, "target: x: 1.11 s (goal ≤ 1.1 s): missed"),
            (0.32, 0.32, Sign.LEAST, "target: x: 0.32 s (goal ≥ 0.32 s): met"),
            (0.31, 0.32, Sign.LEAST, "target: x: 0.31 s (goal ≥ 0.32 s): missed"),
            (0.5, 0.5, Sign.LESS, "target: x: 0.5 s (goal < 0.5 s): missed"),
            (12_345.6, 1, Sign.MOST, "target: x: 12,346 s (goal ≤ 1 s): missed"),
            (None, 1.1, Sign.MOST, "target: x: not measured (goal ≤ 1.1 s)"),
        ],
    )
    def test_is_one_line(self, figure: float | None, goal: float, sign: Sign, line: str) -> None:
        """Its figure, its goal, and whether it was met, whichever way is better."""
        assert str(Target(name="x", figure=figure, goal=goal, sign=sign, unit="s")) == line

    def test_ratios_are_of_medians_in_the_same_case(self) -> None:
        """Writing against SQL, the old way against ours, and growth against that of SQL."""
        results = Results.of(
            [
                measured("website/removed/80000/ours", wall_s=(2, 4, 9), writing_s=(1, 1, 7)),
                measured("website/removed/80000/old", wall_s=(6, 8, 6)),
                measured("website/removed/80000/sql-1000", wall_s=(0.4, 0.5, 0.5)),
                measured("website/removed/1000000/ours", wall_s=100),
                measured("website/removed/1000000/sql-1000", wall_s=10),
            ]
        )

        found = {one.name: one.figure for one in targets(results) if one.figure is not None}

        assert found == {
            "our website, 80,000 changes, writing to plain SQL of 1,000 a statement": 2,
            "our website, 80,000 changes, verified run, faster than the old way on v0.1.0": 1.5,
            (
                "our website, cost a member, 1,000,000 against 80,000, to plain SQL's growth"
            ): pytest.approx((100 / 12.5 / 4) / (10 / 12.5 / 0.5)),
        }

    def test_what_may_never_be_exceeded_is_the_highest_of_all(self) -> None:
        """The longest stall, request and memory of any repetition and way."""
        results = Results.of(
            [
                measured("website/nothing/400000/ours", stall_s=(0.02, 0.06, 0.03)),
                measured("website/nothing/1000000/ours", bot_mb=(900, 990)),
                measured("website/removed/1000000/ours", bot_mb=980),
                measured("website/cache/1000000/members-only", bot_mb=930),
                measured("website/new/8000/ours", site_mb=(70, 77), site_idle_mb=(70, 71)),
                measured("website/probe/80000/ours", site_mb=400, site_idle_mb=70),
                measured("plain/few/80000/ours", largest_s=(0.2, 0.4, 0.3)),
                measured("plain/all/80000/ours-rows", largest_s=0.7),
            ]
        )

        figures = {one.name: one.figure for one in targets(results)}

        stall = "our website, nothing changed, 400,000 members, longest stall of the bot's loop"
        assert figures[stall] == 60
        memory = "our website, 1,000,000 members, bot's memory over discord.py's own cache"
        assert figures[memory] == 60
        assert figures["our website's memory over idle, any size"] == 6
        assert figures["plain site, longest request"] == 0.7

    def test_every_row_is_named_before_anything_is_measured(self) -> None:
        """Each once, none of them met."""
        found = targets(Results())

        names = [one.name for one in found]
        assert len(names) == len(set(names)) == 25
        assert not any(one.is_met for one in found)

    def test_a_strict_run_fails_for_what_was_missed(self) -> None:
        """And a whole one for what was not measured as well."""
        met, missed, unmeasured = (
            Target(name=name, figure=figure, goal=1)
            for name, figure in (("met", 1.0), ("missed", 2.0), ("unmeasured", None))
        )
        found = [met, missed, unmeasured]

        assert failures(found, whole=False) == [missed]
        assert failures(found, whole=True) == [missed, unmeasured]


class TestResults:
    """What is kept."""

    def test_a_part_that_is_made_anew_replaces_its_own_figures_alone(self, tmp_path: Path) -> None:
        """Whatever else was measured before stays, and its line in the file with it."""
        path = tmp_path / "results" / "full.json"
        before = Results.of(
            [
                measured("website/nothing/8000/ours", wall_s=1.5),
                measured("plain/few/80000/old", "not verified", wall_s=(1, 2, 3)),
            ]
        )
        before.save(path)
        kept = path.read_text("utf-8").splitlines()

        results = Results.load(path)
        results.add(measured("website/nothing/8000/ours", wall_s=0.5))
        results.save(path)

        assert results.figure("website", "nothing", 8_000, "ours", "wall_s") == 0.5
        assert results.get("plain", "few", 80_000, "old") == before.get(
            "plain", "few", 80_000, "old"
        )
        changed = [
            line
            for line, old in zip(path.read_text("utf-8").splitlines(), kept, strict=True)
            if line != old
        ]
        assert len(changed) == 1
        assert Results.load(path) == results
        assert [one.name for one in path.parent.iterdir()] == ["full.json"]

    def test_without_a_file_nothing_is_known(self, tmp_path: Path) -> None:
        """And asking for a figure says so."""
        results = Results.load(tmp_path / "full.json")

        assert [*results] == []
        assert results.figure("plain", "few", 80_000, "old", "wall_s") is None

    def test_a_figure_has_a_span(self) -> None:
        """The lowest, the median and the highest of all repetitions."""
        one = measured("plain/few/80000/old", wall_s=(3, 1, 2))

        assert one.span("wall_s") == Span(low=1, median=2, high=3)
        assert one.span("requests") is None


class TestPlan:
    """What is measured, and what of it is chosen."""

    def test_a_whole_run_has_every_size_and_case(self) -> None:
        """Three cases with a million members, all with fewer; the plain site at 80,000."""
        names = [part.name for part in plan.parts()]

        cases = ("removed", "nothing", "one-percent", "new")
        sizes = (8_000, 80_000, 400_000, 1_000_000)
        wanted = {f"website/{case}/{size}" for case in cases for size in sizes}
        wanted -= {"website/new/1000000"}
        wanted |= {f"plain/{case}/80000" for case in plain.CASES}
        assert {name for name in names if name.split("/")[1] in {*cases, *plain.CASES}} == wanted
        assert len(names) == len({*names})

    @pytest.mark.parametrize(
        ("patterns", "names"),
        [
            (["plain/busy"], ["plain/busy/80000"]),
            (["website/new/400000", "plain/few"], ["plain/few/80000", "website/new/400000"]),
            (
                ["*/idle/*000000"],
                ["website/idle/1000000"],
            ),
            (["website/no"], []),
        ],
    )
    def test_parts_are_chosen_by_their_names(self, patterns: list[str], names: list[str]) -> None:
        """By whole words of it, from its beginning, or with an asterisk."""
        assert [part.name for part in plan.chosen(plan.parts(), patterns)] == names

    def test_parts_of_a_size_share_their_servers(self) -> None:
        """But for scenarios, which have a world of their own."""
        stages = plan.by_stage(plan.parts(members=500))

        assert [[part.case for part in stage] for stage in stages] == [
            ["idle", "cache", "removed", "nothing", "one-percent", "new"],
            ["nothing", "few", "busy", "all", "incident"],
            ["live"],
            ["probe"],
        ]

    def test_a_site_has_memory_by_its_users(self) -> None:
        """What a container was given for 80,000; the chunks of a small site need some, too."""
        assert [limit_mb(members) for members in (500, 8_000, 80_000, 400_000)] == [
            90, 94, 400, 400,
        ]  # fmt: skip


class TestRequests:
    """What a site's log tells of a sync."""

    def test_a_sync_is_divided_by_its_writes(self) -> None:
        """It is read before the first, and looked again after the last."""
        lines = [
            request("run-1", at_s=0),
            request("sandbox-warm", at_s=0, took_s=50),
            request("bench-foreground-1", at_s=90),
            request("run-2", at_s=2, method="PATCH"),
            request("run-3", at_s=5, method="PATCH", took_s=2),
            request("run-4", at_s=8),
        ]

        found = phases(asked(lines), ended=NOON + timedelta(seconds=10))

        assert (found.wall_s, found.reading_s, found.writing_s, found.verifying_s) == (10, 2, 5, 3)

    def test_without_a_write_all_is_reading(self) -> None:
        """To the last answer, if that is what ends it."""
        found = phases(asked([request("run-1", at_s=0, took_s=3)]), ended=NOON)

        assert (found.wall_s, found.reading_s, found.writing_s, found.verifying_s) == (3, 3, 0, 0)

    def test_a_request_takes_the_sites_own_time(self) -> None:
        """Where the log tells it from the queue's."""
        (queued, alone) = asked([request("a-1", at_s=0, held_ms=250.0), request("a-2", at_s=0)])

        assert (queued.own_s, alone.own_s) == (0.25, 1.0)

    def test_bytes_are_those_of_one_run(self) -> None:
        """As the site received and sent them."""
        lines: list[Mapping[str, object]] = [
            {"request_id": "run-1", "received_bytes": 10, "sent_bytes": 1_000},
            {"request_id": "run-2", "received_bytes": 20, "sent_bytes": 0},
            {"request_id": "other-1", "received_bytes": 40, "sent_bytes": 40},
            {"request_id": "run-3"},
        ]

        assert bytes_of(lines, prefix="run-") == (30, 1_000)

    def test_the_probe_is_the_last_run_that_wrote(self) -> None:
        """Others have died before it, and a check may read after it."""
        lines = [
            request("first-1", at_s=0, method="PATCH"),
            request("probe-1", at_s=5),
            request("probe-2", at_s=6, method="PATCH"),
            request("check-1", at_s=9),
        ]

        assert [one.request_id for one in last_run(asked(lines))] == ["probe-1", "probe-2"]

    def test_a_loop_in_which_nothing_was_written_has_no_probe(self) -> None:
        """That is said, and no figure made of it."""
        with pytest.raises(ServerError, match="no run has written"):
            last_run(asked([request("first-1", at_s=0)]))


class TestOthers:
    """What whoever else asks the site has seen, and what the programs were at."""

    def test_repetitions_are_heard_together(self) -> None:
        """In their window alone; what is no answer of the contract's is counted."""
        lines = [
            {"at_s": at_s, "seconds": at_s / 10, "status": status}
            for at_s, status in ((1, 200), (2, 404), (3, 503), (4, 0), (9, 200))
        ]

        found = heard(lines, since_s=2, until_s=4) + heard(lines, since_s=1, until_s=1)

        assert found == Heard(seconds=(0.1, 0.2, 0.3, 0.4), failed=2)
        assert found.figures() == {
            "foreground_p50_s": (0.2,),
            "foreground_p99_s": (0.4,),
            "foreground_requests": (4,),
            "foreground_failed": (2,),
        }

    def test_where_nobody_asks_there_is_no_figure(self) -> None:
        """Not a zero, which would be a very good one."""
        assert Heard().figures() == {}

    def test_a_stall_counts_if_it_touches_the_run(self) -> None:
        """Those before its first request are of the members that come in."""
        start_s = NOON.timestamp()
        stalls = [
            {"at_s": start_s - 1, "seconds": 9.0},
            {"at_s": start_s + 1, "seconds": 0.2},
            {"at_s": start_s + 5, "seconds": 0.1},
            {"at_s": start_s + 99, "seconds": 8.0},
        ]

        assert longest(stalls, since=NOON, until=NOON + timedelta(seconds=10)) == 0.2
        assert longest([], since=NOON, until=NOON) == TICK_S

    def test_a_profile_is_of_the_run_alone(self) -> None:
        """The most first; what is beyond a dozen modules is one line."""
        many = {f"module{number}": 100 - number for number in range(13)}
        lines = [{"at_s": 1.0, "seen": {"early": 1_000}}, {"at_s": 2.0, "seen": many}]

        found = by_module(lines, since_s=1.5, until_s=3)

        assert [*found][:1] == ["module0"]
        assert found["module0"] == pytest.approx(0.5)
        assert len(found) == 13
        assert found["others"] == pytest.approx(0.44)

    @pytest.mark.parametrize(
        ("module", "place_"),
        [
            ("website.api.rows", "website.api.rows"),
            ("bot.exts.backend.sync._runs.run", "bot.exts.backend.sync._runs.run"),
            ("json.decoder", "json.decoder"),
            ("rest_framework.fields.more", "rest_framework.fields"),
            ("psycopg.client_cursor", "psycopg"),
        ],
    )
    def test_a_sample_names_the_module_in_full_if_it_is_ours(
        self, module: str, place_: str
    ) -> None:
        """Of others the package is enough, and of the database's driver that it is that."""

        def here() -> FrameType:
            return sys._getframe()

        assert place(FunctionType(here.__code__, {"__name__": module, "sys": sys})()) == place_


class TestPage:
    """What is written into the documents."""

    RESULTS = Results.of(
        [
            measured("website/removed/8000/ours", "digests", wall_s=(1, 2, 3), requests=12),
            measured("website/removed/80000/ours", wall_s=20, foreground_p50_s=0.004),
            measured("website/removed/80000/old", "not verified", wall_s=40),
            measured("plain/busy/80000/old", wall_s=100.4),
            measured("website/live/8000/ours", event_p50_s=0.2, event_p99_s=0.4),
            measured("website/removed/80000/profile", wall_s=10.0, **{"bot a.b": 5.0}),
        ]
    )

    def test_it_is_made_of_what_is_kept(self, tmp_path: Path) -> None:
        """Nothing but the marked part of the page moves; no server is asked."""
        page, results = tmp_path / "docs" / "performance.md", tmp_path / "results"
        page.parent.mkdir()
        page.write_text(PAGE, "utf-8")
        self.RESULTS.save(results / "full.json")

        code = bench(["--page"], kept_in=results, page_path=page)

        written = page.read_text("utf-8")
        before, _, rest = written.partition("<!-- bench -->\n")
        _, _, after = rest.partition("<!-- end of bench -->\n")
        assert (code, before, after) == (0, "# What it costs\n\n", "\n## Digests\n")
        for line in (
            "| 8,000 | **ours** | 2 s (1 s to 3 s) | 12 | digests |",
            "| 80,000 | old way | 40 s | - | not verified |",
            "| 80,000 | old way | 100 s |",
            "| 50 changes a second | 8,000 | - | - | 0.2 s | 0.4 s |  |",
            "| bot | `a.b` | 5.00 s | 50% |",
        ):
            assert line in written
        pictures = sorted(one.name for one in (page.parent / "performance").iterdir())
        assert pictures == ["role-removed.png"]
        assert "(performance/role-removed.png)" in written

    def test_it_says_of_what_and_when(self) -> None:
        """Parts may be of several days."""
        assert "Measured 2026-12-01 of commit `0123456789` on 2 cores." in block(self.RESULTS)
        assert "Nothing has been measured yet" in block(Results())

    def test_a_page_without_a_place_for_it_is_left_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """In one line that names the mark; what was measured is kept all the same."""
        page = tmp_path / "performance.md"
        page.write_text("# Mine\n", "utf-8")

        code = bench(["--page"], kept_in=tmp_path, page_path=page)

        said = f"{page} has no place for what is measured: <!-- bench -->\n"
        assert (code, capsys.readouterr().err, page.read_text("utf-8")) == (1, said, "# Mine\n")

    def test_a_curve_needs_a_point(self) -> None:
        """What is unknown or zero has no place on a logarithmic axis."""
        assert draw(Curves(title="x", unit="s", by_name={"ours": {8_000: 0.0}, "old": {}})) is None
        picture = draw(Curves(title="x", unit="s", by_name={"ours": {8_000: 0.2, 80_000: 2.0}}))
        assert picture is not None
        assert picture.startswith(b"\x89PNG")


class TestCommand:
    """What it is told."""

    def test_an_unknown_option_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Before any server is started."""
        with pytest.raises(SystemExit) as caught:
            bench(["--fast"])

        assert caught.value.code == 2
        assert "--fast" in capsys.readouterr().err

    def test_a_part_that_is_not_there_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        """It says how to see what there is."""
        assert bench(["--only", "website/neu"]) == 2
        assert capsys.readouterr().err == "there is nothing like website/neu: --list names all\n"

    def test_only_runs_on_our_website_are_profiled(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The stand-in is what it costs, and a scenario has more than one run."""
        assert bench(["--list", "--profile", "--only", "*/*/80000"]) == 0
        assert capsys.readouterr().out.split()[::2] == [
            *(f"website/{case}/80000" for case in ("removed", "nothing", "one-percent", "new"))
        ]

    def test_the_parts_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        """With how often each is measured."""
        assert bench(["--list", "--only", "plain/few"]) == 0
        assert capsys.readouterr().out.split() == ["plain/few/80000", "3"]

    def test_the_kept_figures_can_be_read(self) -> None:
        """Those that are in the repository, if there are any."""
        results = Results.load(DIRECTORY / "full.json")

        assert all(json.dumps(one.as_json()) for one in results)
