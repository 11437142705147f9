"""What runs workers: here the demo, on one machine."""
