"""What `make` does: environments, wheels, steps that tell of their progress."""
