"""A reference site: the HTTP contract that the sync extension talks to, on Django."""

__version__ = "0.1.0"
