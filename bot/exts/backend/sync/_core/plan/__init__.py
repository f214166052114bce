"""What differs between guild and site, and what a sync will change."""
