"""`lmsctl`: what a person types. It translates and shows; acts are done elsewhere."""
