"""What a text, a vector, a list or an image can be watched as: from one value to one number or one category."""
