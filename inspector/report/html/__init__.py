"""The HTML report: one file with everything in it, for show, fit, train and batch."""
