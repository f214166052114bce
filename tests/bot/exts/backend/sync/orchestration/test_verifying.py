"""What "verified" rests on: rows that were read again, or a plain site's answers and a sample."""

from typing import Any

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.policy.verification import Verification
from tests.bot.exts.backend.sync.orchestration.conftest import Stage
from tests.fakes.process import Process
from tests.fakes.site import LOST, WELL

MEMBERS = range(10, 3_010)
LARGE: dict[str, Any] = {
    "sync_page_items": 200,
    "sync_first_items": 1000,
    "sync_max_items": 1000,
}


async def synced(stage: Stage, *, differing: range = MEMBERS, **settings: Any) -> Process:
    """Start with these rows of a large guild out of step, and let a sync end."""
    stage.guild(*MEMBERS)
    for id_ in differing:
        stage.rows.users[id_] = {**stage.rows.users[id_], "name": "before"}
    return await stage.start(90, **LARGE, **settings)


def pages(process: Process) -> int:
    """Return how many pages were read."""
    return sum("page" in (call.request.params or {}) for call in process.site.calls)


async def test_a_plain_sites_answers_and_a_sample_are_enough(stage: Stage) -> None:
    """Every row was written: 16 pages are read, then some until 300 rows were seen, not all."""
    process = await synced(stage)
    view = stage.runs()[-1]
    if not stage.cached:
        assert view.verification is Verification.ROWS  # stretch by stretch
        return

    assert (view.ending, view.verification) == (Ending.VERIFIED, Verification.SAMPLE)
    assert view.sampled >= 300
    assert pages(process) <= 16 + 3
    assert stage.in_step()
    assert (
        f"{view.sampled} written rows read again" in stage.channel.messages[-1].notice.description
    )


async def test_few_pages_are_read_again_row_by_row(stage: Stage) -> None:
    """What was written stands on three pages of fifteen: these, and nothing drawn by chance."""
    process = await synced(stage, differing=range(1_010, 1_510))
    view = stage.runs()[-1]

    assert (view.ending, view.verification) == (Ending.VERIFIED, Verification.ROWS)
    assert pages(process) <= 16 + (4 if stage.cached else 10)
    assert stage.in_step()


async def test_one_row_that_was_not_stored_means_every_row(stage: Stage) -> None:
    """A tenth was answered and not stored: the sample shows it, all is read, and sent once more."""
    stage.rows.forgotten.update(MEMBERS[::10])
    process = await synced(stage)
    view = stage.runs()[-1]

    assert (view.ending, view.verification) == (Ending.VERIFIED, Verification.ROWS)
    assert pages(process) > 16 + 3 + 15
    assert stage.in_step()


async def test_an_answer_that_is_wrong_is_not_relied_on(stage: Stage) -> None:
    """The site says of half the rows that they are otherwise: those are read, and so are all."""
    stage.rows.mistaken.update(MEMBERS[::2])
    process = await synced(stage)
    view = stage.runs()[-1]

    assert (view.ending, view.verification) == (Ending.VERIFIED, Verification.ROWS)
    assert pages(process) > 16 + 10


async def test_after_a_lost_answer_every_row_is_read(stage: Stage) -> None:
    """Nobody knows what became of that request."""
    lost = iter([LOST])

    def prepare(process: Process) -> None:
        process.site.fate = lambda request: next(lost, WELL) if request.writes else WELL

    process = await synced(stage, prepare=prepare)
    view = stage.runs()[-1]

    assert (view.ending, view.verification) == (Ending.VERIFIED, Verification.ROWS)
    assert pages(process) > 16 + 10
    assert stage.in_step()


async def test_created_rows_are_read_again(stage: Stage) -> None:
    """A site says nothing of whom it has created."""
    stage.guild(*MEMBERS, stored=False)
    process = await stage.start(90, **LARGE)
    view = stage.runs()[-1]

    assert (view.ending, view.verification) == (Ending.VERIFIED, Verification.ROWS)
    assert pages(process) >= 15
    assert stage.in_step()


async def test_pages_by_id_are_read_again_row_by_row(stage: Stage) -> None:
    """A site that offers more than the contract is cheap to read."""
    stage.rows.offers = {"pages_by_id": True}
    await synced(stage)

    assert stage.runs()[-1].verification is Verification.ROWS


async def test_rows_that_have_moved_are_found(stage: Stage) -> None:
    """Somebody else has created rows before them since they were read: they are looked for."""
    stage.guild(*MEMBERS)
    for id_ in range(1_010, 1_100):
        stage.rows.users[id_] = {**stage.rows.users[id_], "name": "before"}

    def prepare(process: Process) -> None:
        def shift(_call: object) -> None:
            for id_ in range(1, 9):
                row = {**stage.rows.users[10], "id": id_, "in_guild": False}
                stage.rows.users.setdefault(id_, row)

        process.site.on_commit = shift

    await stage.start(90, prepare=prepare, **LARGE)

    assert stage.endings() == [Ending.VERIFIED]
    assert stage.in_step()


@pytest.mark.parametrize("forgotten", [MEMBERS[:5], MEMBERS[::7]])
async def test_what_the_sample_finds_is_mended(stage: Stage, forgotten: range) -> None:
    """However many rows are wrong, those that are found are right in the end."""
    stage.rows.forgotten.update(forgotten)
    await synced(stage)

    assert stage.endings()[-1] is Ending.VERIFIED
