"""The incident and its kin, replayed on real servers and checked from outside the bot."""
