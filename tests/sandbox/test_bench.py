"""What `make bench` says of its targets, and when it counts one as missed."""

import pytest

from sandbox.bench import Target, bench


@pytest.mark.parametrize(
    ("figure", "goal", "is_least", "line"),
    [
        (1.1, 1.1, False, "target: x: 1.1 (goal ≤ 1.1): met"),
        (1.11, 1.1, False, "target: x: 1.11 (goal ≤ 1.1): missed"),
        (0.32, 0.32, True, "target: x: 0.32 (goal ≥ 0.32): met"),
        (0.31, 0.32, True, "target: x: 0.31 (goal ≥ 0.32): missed"),
    ],
)
def test_a_target_is_one_line(figure: float, goal: float, *, is_least: bool, line: str) -> None:
    """Its figure, its goal, and whether it was met, whichever way is better."""
    assert str(Target(name="x", figure=figure, goal=goal, is_least=is_least)) == line


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before any server is started."""
    with pytest.raises(SystemExit) as caught:
        bench(["--fast"])

    assert caught.value.code == 2
    assert "--fast" in capsys.readouterr().err
