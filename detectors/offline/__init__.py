"""The same for files and frames: analyses and checks of fitness."""
