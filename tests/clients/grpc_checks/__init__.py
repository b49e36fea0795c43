"""Checks of a tfweb server by TensorFlow Serving's own Python client."""
