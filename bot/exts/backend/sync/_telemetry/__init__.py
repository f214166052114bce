"""What machines are told: log events, metrics, Sentry, events for other cogs."""
