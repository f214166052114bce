"""What outlives the process: the state of one guild, what is parked, alerts on their way."""
