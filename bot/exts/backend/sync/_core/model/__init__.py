"""What everything else speaks of: members, roles and the changes of their rows."""
