"""The collector: events and labels become prediction rows, window statistics and positions, in one transaction."""
