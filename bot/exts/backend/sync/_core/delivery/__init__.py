"""How changes reach the site chunk by chunk, and what becomes of each of them."""
