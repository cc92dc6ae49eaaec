"""Labels: how they are sent, what they say, which predictions they speak of, what becomes of them."""
