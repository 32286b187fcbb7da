"""The whole provider in virtual time: a simulated API server, engine and users, every fault at every door, by seed."""
