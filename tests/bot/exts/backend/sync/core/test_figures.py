"""What is counted of one run."""

from bot.exts.backend.sync._core.model.changes import Kind
from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.figures import RunFigures

from .examples import role, user_ids


def test_only_writes_of_users_are_chunks() -> None:
    """Every request counts for the longest and the curve; reads and roles have no rows."""
    figures = RunFigures()
    for at_s, request in enumerate(
        (
            requests.healthcheck(),
            requests.create_role(role(5)),
            requests.write_users(Kind.CREATE, b"[{},{}]", users=user_ids(1, 2)),
            requests.write_users(Kind.DEPARTURE, b"[{}]", users=user_ids(3)),
        )
    ):
        figures.asked(request, 0.5 + at_s, at_s=at_s)

    assert (figures.chunk_items, figures.largest_request_s) == ([2, 1], 3.5)
    assert len(figures.curve.kept()) == 4
