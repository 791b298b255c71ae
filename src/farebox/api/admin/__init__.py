"""The operator's interface, `/admin/v1/*`: accounts, keys, credit, plans, models, requests, books, administrators."""
