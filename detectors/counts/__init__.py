"""What a window holds: whole numbers on the reference's frozen bins, which add up."""
