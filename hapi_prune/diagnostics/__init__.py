"""Looks at a network without training: explain, check, the picture of the groups."""
