"""What people see of a run: history, tables, plots, VisualDL."""
