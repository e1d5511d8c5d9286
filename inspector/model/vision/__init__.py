"""The vision and audio encoders of a config."""
