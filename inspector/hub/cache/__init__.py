"""Answers kept between runs, the form they are kept in, and the snapshots that come with the package."""
