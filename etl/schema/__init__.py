"""Learnt types."""
