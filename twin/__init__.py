"""Wuyi Twin (五邑孪生): the city itself; what every pipeline, scenario and client speaks."""

__version__ = "0.1.0"
