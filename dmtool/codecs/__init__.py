"""Pictures <-> the code that generators make."""
