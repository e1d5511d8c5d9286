"""What config.json says: its readers, and the rules that fill in what a file leaves out."""
