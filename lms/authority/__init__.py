"""`lms-authority`: so far the Migration Selection Authority's station, which approves by file."""
