"""The store: database, group commit and migrations."""
