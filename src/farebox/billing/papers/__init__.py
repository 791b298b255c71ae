"""Papers: invoices, credit notes, statements and the history of a wallet, as data, HTML and PDF."""
