"""What figures are made of: axes, styles, curves, and where data come from."""
