"""The website, over HTTP."""
