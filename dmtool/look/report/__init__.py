"""`dmtool report`: runs on one page."""
