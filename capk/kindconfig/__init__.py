"""The formats that kind reads and writes. Pure."""
