"""Plan -> smaller network, proven: the only room that writes to layers, parameters and optimizers.

Begin with `pruning.py`: what a cut is, in a dozen lines.
"""
