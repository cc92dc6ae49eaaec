"""What becomes of an exchange: chosen, counted, handed to the recorder, which is a process of its own."""
