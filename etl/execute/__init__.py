"""How the batches of a drain are worked through."""
