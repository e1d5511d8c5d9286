"""From results to text, JSON, CSV and Markdown. Computes nothing."""
