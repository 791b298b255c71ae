"""The public surfaces over HTTP: one handler behind every one that asks a model, and those about an account."""
