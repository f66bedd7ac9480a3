"""What goes: ratios and scores in, a PruningPlan out. Changes nothing."""
