"""What is decided: when to start, to wait, to stop, and when to ask a moderator first."""
