"""Whole worlds in one process, on virtual time, from a seed: what must always hold, held to.

`loop` chooses what goes next, `story` is what happens in a world, `world` lets it happen, `rules`
say what must hold, `shrink` makes the story of a finding short. `python -m tests.simulator --help`.
"""
