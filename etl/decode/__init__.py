"""Bytes to Arrow and rejects; no file, no clock, no log."""
