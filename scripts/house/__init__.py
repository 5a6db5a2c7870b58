"""What `make` does: environments, wheels, steps that say how far they are. Standard library alone."""
