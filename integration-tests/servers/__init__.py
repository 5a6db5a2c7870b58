"""Recipes of the real servers, one folder each, and what builds them."""
