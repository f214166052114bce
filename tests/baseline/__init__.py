"""Stores as the version before wrote them, and the program that makes them anew."""
