"""Use cases. They call the world through `lms.ports` and never look at a clock or a disk themselves."""
