"""How much a filter matters: a score for each filter of a layer, or for each unit of a group; higher is kept."""
