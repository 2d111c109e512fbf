"""The group's committed offsets: a mirror of the catalog's, for lag monitors."""

COMMIT_TIMEOUT_S = 10.0
