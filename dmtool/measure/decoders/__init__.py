"""Pictures beside what a decoder makes of them."""
