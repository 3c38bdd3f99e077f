"""What implements `lms.ports`: each room is the only door to one library, none imports another."""
