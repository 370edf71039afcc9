"""What leaves the program: integer networks as files and as C."""
