"""Whether a topic is still the incarnation that was planned, and where it ended if not."""

# So often are the topics' ids asked for while messages are held back.
PROOF_S = 1.0

# So long may the answer take, and so long is a topic asked for again that seems to be gone.
PROOF_TIMEOUT_S = 5.0
PATIENCE_S = 0.2
