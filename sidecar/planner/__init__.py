"""Pure: labels and mounts to plans. No I/O, clock, random or environment."""
