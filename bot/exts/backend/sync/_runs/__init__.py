"""A sync from its first request to its summary, and the parts that it is made of."""
