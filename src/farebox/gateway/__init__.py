"""The gateway: one call from its admission to its settlement, one step a file."""
