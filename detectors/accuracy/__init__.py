"""How right predictions were, from counts of joined labels."""
