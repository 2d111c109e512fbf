"""All that is said to the broker."""
