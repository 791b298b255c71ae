"""Billing: prices, holds and settlements, receipts and statements. The only way to the ledger."""
