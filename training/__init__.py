"""How a sensor's models are learned."""
