"""One member: what differs, what is due, and how it is told."""

from dataclasses import replace

import pytest

from bot.exts.backend.sync._core.messages.notice import Tone
from bot.exts.backend.sync._core.messages.single import Comparison, Result, told
from bot.exts.backend.sync._core.model.changes import Group, Kind
from bot.exts.backend.sync._core.model.members import ALL_FIELDS, Field, Member, RoleId, UserId
from tests.bot.exts.backend.sync.core.markup import assert_marked_up_alike, assert_within_limits

ADA = Member(
    id=UserId(7), name="ada", display_name="Ada", discriminator=0, roles=(RoleId(1), RoleId(2))
)
HOSTILE = "@everyone **b** `c` [x](http://y) <@1>\n# " * 9


def comparison(
    member: Member | None, row: Member | None, *, left: bool = False, name: str = "One"
) -> Comparison:
    """Return the comparison of Ada."""
    return Comparison(id=ADA.id, member=member, row=row, left=left, role_names={RoleId(1): name})


GONE = replace(ADA, in_guild=False)


@pytest.mark.parametrize(
    ("compared", "kind", "fields"),
    [
        (comparison(ADA, replace(ADA, name="eve")), Kind.UPDATE, (Field.NAME,)),
        (comparison(ADA, GONE), Kind.UPDATE, (Field.IN_GUILD,)),
        (comparison(ADA, None), Kind.CREATE, ALL_FIELDS),
        (comparison(None, ADA, left=True), Kind.DEPARTURE, (Field.IN_GUILD,)),
    ],
)
def test_what_is_due(compared: Comparison, kind: Kind, fields: tuple[Field, ...]) -> None:
    """The fields that differ, and no more than those."""
    assert compared.group == Group(kind=kind, fields=fields, ids=(ADA.id,))


@pytest.mark.parametrize(
    ("compared", "words"),
    [
        (comparison(ADA, ADA), "The site is in step: nothing to write."),
        (comparison(None, ADA), "Discord did not say whether they are in this server: "),
        (comparison(None, None, left=True), "and the site does not know them: nothing to write."),
        (comparison(None, GONE, left=True), "and the site knows that: nothing to write."),
    ],
)
def test_when_nothing_is_due(compared: Comparison, words: str) -> None:
    """Who is unknown is not gone: somebody who is not in the cache is left alone."""
    assert compared.group is None
    assert words in told(compared, None).description


@pytest.mark.parametrize(
    ("result", "words", "tone"),
    [
        (None, "2 fields differ: writing it now.", Tone.RUNNING),
        (Result(verified=True), "2 fields differ: **written** and verified.", Tone.GOOD),
        (
            Result(verified=False, reason="Not *that*."),
            "2 fields differ: **not written**. Not \\*that\\*.",
            Tone.WARNING,
        ),
    ],
)
def test_old_and_new(result: Result | None, words: str, tone: Tone) -> None:
    """Each field that differs, as the site has it and as it is here; roles by what is added."""
    row = replace(ADA, name="_eve_", roles=(RoleId(2), RoleId(3)))
    notice = told(comparison(ADA, row), result)

    assert notice.description.splitlines() == ["<@7> `7`", words]
    assert notice.fields == (
        ("name", "\\_eve\\_ → ada"),
        ("roles", "*One* `1` added\n`3` removed"),
    )
    assert notice.tone is tone


@pytest.mark.parametrize(
    ("compared", "words", "field"),
    [
        (comparison(ADA, replace(ADA, name="")), "1 field differs", ("name", "(empty) → ada")),
        (comparison(ADA, None), "The site has no row for them", ("name", "nothing → ada")),
        (
            comparison(None, ADA, left=True),
            "They have left, but the site does not know",
            ("in_guild", "True → False"),
        ),
    ],
)
def test_what_differs_in_words(compared: Comparison, words: str, field: tuple[str, str]) -> None:
    """A row that is missing, or that should say that somebody left."""
    notice = told(compared, None)

    assert notice.description.splitlines()[1] == f"{words}: writing it now."
    assert notice.fields[0] == field


def test_many_roles_are_counted() -> None:
    """A member may have hundreds, and a field of a message has 1,024 characters."""
    many = replace(ADA, roles=tuple(RoleId(id_) for id_ in range(1, 30)))
    (field,) = told(comparison(many, replace(ADA, roles=())), None).fields

    assert field[1].splitlines()[-1] == "and 9 more"


def test_no_name_breaks_the_answer() -> None:
    """Neither a member's, nor a role's, nor what the site says."""

    def answer(text: str) -> list[object]:
        member = replace(ADA, name=text, display_name=text)
        compared = comparison(member, replace(ADA, roles=(), name="x"), name=text)
        return [told(compared, Result(verified=False, reason=text)), told(compared, None)]

    for hostile, plain in zip(answer(HOSTILE), answer("y"), strict=True):
        assert_within_limits(hostile)  # type: ignore[arg-type] # notices
        assert_marked_up_alike(hostile, plain)  # type: ignore[arg-type] # as above
