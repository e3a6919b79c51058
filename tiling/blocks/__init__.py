"""Block models (CIM2) from footprints: plan, solids, masses, pieces of a city."""
