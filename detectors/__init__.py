"""Statistics of windows, what was expected of them, and what may be concluded from the difference."""
