"""Faults at random moments, on real servers, and what must hold after them."""
