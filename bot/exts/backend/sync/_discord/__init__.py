"""Discord, through discord.py: the guild, the mod-log channel, commands and buttons."""
