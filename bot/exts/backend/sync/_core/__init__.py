"""Decisions as pure functions over values: no clock, no I/O, no randomness, no libraries."""
