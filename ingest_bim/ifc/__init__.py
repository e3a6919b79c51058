"""IFC models: text, structure, values, placement and shapes."""
