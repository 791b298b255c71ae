"""Pages: what an invoice and a statement look like: a sheet of texts, then HTML. `billing.pdf` prints the same."""
