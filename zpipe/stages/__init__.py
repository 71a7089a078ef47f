"""What the workers of each stage do with a frame, and the loop that they share. Starts and stops nobody."""
