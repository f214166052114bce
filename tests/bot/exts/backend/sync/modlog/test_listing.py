"""Files that people open in a spreadsheet: complete, bounded, and no cell a formula."""

import csv
import io
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot.exts.backend.sync._core.messages.listing import File, differing, line, withheld_file
from bot.exts.backend.sync._core.model.members import ALL_FIELDS, Field, Member, RoleId, UserId
from bot.exts.backend.sync._core.plan.diff import RoleDiff
from bot.exts.backend.sync._core.policy.departures import Subject, withheld
from bot.exts.backend.sync._runs.plan_file import PlanFile
from tests.bot.exts.backend.sync.core.examples import NOW

ADA = Member(
    id=UserId(7), name="ada", display_name="Ada", discriminator=0, roles=(RoleId(1), RoleId(2))
)


def cells(content: bytes) -> list[list[str]]:
    """Return what a spreadsheet would read."""
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])), min_size=1))
def test_no_cell_is_a_formula(texts: list[str]) -> None:
    """Whatever a name begins with, it stays text, in its own cell and on its own line."""
    (row,) = cells(line(texts)) or [[]]

    assert [cell.removeprefix("'") for cell in row] == [text.removeprefix("'") for text in texts]
    assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_a_name_of_several_lines_stays_on_one() -> None:
    """Not every spreadsheet takes a quoted line break for a part of its cell."""
    assert line(("a\r\nb\u2028c\0", "\t=x")) == b"a  b c , =x\n"


def test_half_of_a_surrogate_pair_breaks_no_file() -> None:
    """A name may hold what UTF-8 cannot."""
    assert line(("\ud83e",)) == b"?\n"


def test_differences_have_both_values() -> None:
    """Of roles, those that one side lacks; of somebody without a row, all fields."""
    row = replace(ADA, name="eve", roles=(RoleId(2), RoleId(3)))
    fields = (Field.NAME, Field.ROLES)

    assert cells(b"".join(differing(ADA, row, fields))) == [
        ["7", "update", "name", "eve", "ada"],
        ["7", "update", "roles", "3", "1"],
    ]
    assert cells(b"".join(differing(ADA, None, ALL_FIELDS))) == [
        ["7", "create", "name", "", "ada"],
        ["7", "create", "display_name", "", "Ada"],
        ["7", "create", "discriminator", "", "0"],
        ["7", "create", "roles", "", "1 2"],
        ["7", "create", "in_guild", "", "True"],
    ]


def test_who_is_on_a_list() -> None:
    """Ids, with names where they are known; what has no room is counted."""
    list_ = withheld(
        Subject.ROLE_DELETIONS, (1, 2, 3), total=5, run_id="r", names={1: "one", 3: "=x"}, now=NOW
    )
    whole = withheld_file(list_)

    assert whole.name == f"role-deletions-{list_.digest}.csv"
    assert [whole.left_out, cells(whole.content)] == [
        0,
        [["id", "name on the site"], ["1", "one"], ["2", ""], ["3", "'=x"]],
    ]
    cut = withheld_file(list_, max_bytes=len(whole.content) - 1)
    assert [cut.left_out, len(cells(cut.content))] == [1, 3]
    assert withheld_file(list_, max_bytes=len(whole.content)) == whole


class TestThePlansFile:
    """It grows while the plan is made, up to its bound."""

    @staticmethod
    def filled(max_bytes: int) -> File | None:
        file = PlanFile(max_bytes=max_bytes)
        file.roles(RoleDiff(delete=(RoleId(3),)), {RoleId(3): "old"})
        stranger = replace(ADA, id=UserId(8))
        file.compared((replace(ADA, name="eve"), ADA, stranger), {ADA.id: ADA})
        file.created((stranger,))
        file.departed((UserId(9),))
        return file.done("plan.csv")

    def test_holds_every_difference(self) -> None:
        """A row whose member is unknown is none: it may be a departure, or not."""
        file = self.filled(10_000)

        assert file is not None
        assert [row[:3] for row in cells(file.content)[1:]] == [
            ["3", "delete role", ""],
            ["7", "update", "name"],
            *(["8", "create", field.value] for field in ALL_FIELDS),
            ["9", "departure", "in_guild"],
        ]

    def test_is_never_longer_than_its_bound(self) -> None:
        """What it has no room for is counted, and nothing follows a gap."""
        whole = self.filled(10_000)
        assert whole is not None
        for max_bytes in range(60, len(whole.content)):
            file = self.filled(max_bytes)
            assert file is not None
            assert len(file.content) <= max_bytes
            assert whole.content.startswith(file.content)
            assert len(cells(file.content)) + file.left_out == len(cells(whole.content))

    def test_is_none_where_nothing_differs(self) -> None:
        """An empty file would look like a mistake."""
        file = PlanFile()
        file.compared((ADA,), {ADA.id: ADA})

        assert file.done("plan.csv") is None
