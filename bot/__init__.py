"""A Discord bot that keeps a community website's copy of its guild in step."""

__version__ = "0.1.0"
