"""`lms-authority`: the Migration Authority, and the station of the Migration Selection Authority."""
