"""What a step trains for: supervised fine-tuning, preferences, rewards. One file an objective."""
