"""A broker and alerts of our own."""
