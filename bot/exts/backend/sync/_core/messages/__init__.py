"""Every word that people read, and the values that it is made of."""
