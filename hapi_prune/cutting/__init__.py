"""Plan -> smaller network, proven: the only room that writes to layers, parameters and optimizers."""
