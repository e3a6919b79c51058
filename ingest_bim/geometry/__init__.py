"""Shapes of IFC elements: without a kernel where that is exact, else in a process that may hang or crash."""
