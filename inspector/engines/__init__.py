"""What loads models: a folder for each engine, and the registry of them."""
