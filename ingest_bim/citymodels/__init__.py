"""City models: CityJSON, CityGML and what they have in common."""
