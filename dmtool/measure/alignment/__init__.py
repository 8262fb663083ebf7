"""Whether pictures show their captions."""
