"""What moves the curve of the test loss."""
