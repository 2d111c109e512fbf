"""What astronomers agree on: Rubin's bands."""

# From blue to red.
BANDS = "ugrizy"
