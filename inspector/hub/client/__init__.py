"""The Hub's client: one request, many at once, within limits."""
