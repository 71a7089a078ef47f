"""A run: its broker, supervisor and plan, in the process of `zpipe up`. Touches no picture and no model."""
