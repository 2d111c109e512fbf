"""The page on a lake: how runs went, what is in it, what is missing."""
