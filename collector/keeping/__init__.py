"""What the collector does beside its batches: letting go of what is old, erasing, putting files together."""
