"""What is done to a captured body before it touches the disk: decoded, folded, redacted; in a child process."""
