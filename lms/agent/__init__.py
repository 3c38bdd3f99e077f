"""`lms-agent`: shows a person at a desktop how the keys of this machine are, and begins what he wants done."""
