"""docs/site-contract.md says what the website answers."""

from tests.website.contract_page import PAGE, table
from tests.website.harness import Website


def test_the_page_says_what_the_site_answers(website: Website) -> None:
    """`python -m tests.website.contract_page` renews it."""
    with website.client() as client:
        assert table(client) in PAGE.read_text("utf-8")
