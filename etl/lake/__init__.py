"""Files, and where they lie."""
