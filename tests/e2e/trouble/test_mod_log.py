"""What Discord can do to mod-log: it tells each thing once all the same."""

from tests.e2e.trouble.harness import GUILD, Stage


async def test_a_run_has_one_message_though_an_answer_is_lost(stage: Stage) -> None:
    """A message whose answer Discord did not give is not posted again, but edited."""
    await stage.guild()
    async with stage.bot():
        await stage.run_end()
        await stage.until(lambda: len(stage.embeds()) == 2)  # the run, and where its state is
        await stage.control.rest_fault(
            f"POST /channels/{GUILD + 900}/messages", status=503, after=True
        )
        await stage.control.delete_role(GUILD, GUILD + 1)
        await stage.run_end(2)

    footers = [embed["footer"]["text"] for embed in stage.embeds()]
    assert len(footers) == len(set(footers)) == 3
