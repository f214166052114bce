"""Passwords that are guessed at."""

from website.guesses import (
    MOST_A_NAME,
    MOST_AN_ADDRESS,
    MOST_IN_ALL,
    WINDOW_S,
    Guesses,
)


def wrong(guesses: Guesses, count: int, *, name: str = "n", address: str = "a") -> Guesses:
    """Note wrong passwords, one a second from second 0 on; `{}` stands for the number of each."""
    for number in range(count):
        guesses.note_wrong(
            name=name.format(number), address=address.format(number), now_s=float(number)
        )
    return guesses


def test_a_few_wrong_passwords_keep_nobody_waiting() -> None:
    """Whoever mistypes a password may try again at once."""
    guesses = wrong(Guesses(), MOST_A_NAME - 1)

    assert guesses.wait_s(name="n", address="a", now_s=20) == 0


def test_a_name_that_is_guessed_at_waits_wherever_it_is_tried_from() -> None:
    """Ten wrong passwords for one name, from as many addresses, leave other names alone."""
    guesses = wrong(Guesses(), MOST_A_NAME, address="a{}")

    assert guesses.wait_s(name="n", address="other", now_s=100) == WINDOW_S - 100
    assert guesses.wait_s(name="other", address="other", now_s=100) == 0


def test_an_address_that_guesses_waits_whatever_name_it_tries() -> None:
    """Ten wrong passwords from one address, for as many names, leave other addresses alone."""
    guesses = wrong(Guesses(), MOST_AN_ADDRESS, name="n{}")

    assert guesses.wait_s(name="other", address="a", now_s=100) == WINDOW_S - 100
    assert guesses.wait_s(name="other", address="other", now_s=100) == 0


def test_guesses_from_everywhere_are_limited_too() -> None:
    """Fifty in all: no number of names and addresses makes room for more."""
    guesses = wrong(Guesses(), MOST_IN_ALL, name="n{}", address="a{}")

    assert guesses.wait_s(name="other", address="other", now_s=100) == WINDOW_S - 100


def test_after_a_quarter_of_an_hour_there_is_one_more_try_for_each_that_is_old() -> None:
    """The window slides: it does not open at once for as many tries as before."""
    guesses = wrong(Guesses(), MOST_A_NAME)

    assert guesses.wait_s(name="n", address="a", now_s=WINDOW_S) == 0
    guesses.note_wrong(name="n", address="a", now_s=WINDOW_S)
    assert guesses.wait_s(name="n", address="a", now_s=WINDOW_S) == 1


def test_a_name_of_any_length_is_counted() -> None:
    """A long name is cut, for counting too: nothing that is sent is kept in full."""
    guesses = wrong(Guesses(), MOST_A_NAME, name="n" * 10**6, address="a{}")

    assert guesses.wait_s(name="n" * 10**6, address="other", now_s=10) == WINDOW_S - 10
