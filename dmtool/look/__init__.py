"""What there is to look at: drawings, pages, the terminal; plans and verdicts."""
