"""Runs hiq and its peers in turn, and says how they compare. Standard library alone."""
