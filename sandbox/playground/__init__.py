"""A playground in the browser: the local Discord as Discord shows it, real servers behind it."""
