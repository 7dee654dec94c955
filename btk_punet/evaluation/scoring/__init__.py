"""What is true of a scene, and which detection is which source."""
