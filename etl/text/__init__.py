"""Rows, numbers and times as text."""
