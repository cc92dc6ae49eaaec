"""Codecs: bytes of one half of an inference in, tensors out; one file for each format."""
