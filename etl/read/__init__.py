"""The published file, read."""
