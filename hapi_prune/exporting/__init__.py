"""A network as a program that runs without its Python code."""
