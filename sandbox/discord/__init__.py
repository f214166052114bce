"""A local Discord: gateway and REST, as far as a bot that mirrors a guild needs them."""
