"""Settings: read once from a file and the environment, checked whole, frozen; only `app` and `cli` look at them."""
