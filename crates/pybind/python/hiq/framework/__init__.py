"""HiQ's drivers for frameworks. None of them is imported before it is asked for."""
