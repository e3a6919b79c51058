"""Scenarios: read layers, step a model in time, write layers. `contract` says what one is; `driver` runs it."""
