"""What everything else may import: faults, money, usage, time and ids. No I/O."""
