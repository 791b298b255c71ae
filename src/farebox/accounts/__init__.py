"""Accounts: who pays, with which keys, on which plan; and the directory that knows them all."""
