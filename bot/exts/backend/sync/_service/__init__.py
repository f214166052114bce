"""What lives as long as the extension: who leads, when a sync starts, what people order."""
