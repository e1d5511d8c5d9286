"""One repo, on the Hub or on this disk: its files, its documents, and which of them are meant."""
