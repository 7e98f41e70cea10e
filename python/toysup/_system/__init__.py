"""The machine: memory, processors, processes, signals and the terminal."""
