"""Network -> what hangs together: the traced graph, labels, one rule for each op, channel groups, cost. Reads only."""
