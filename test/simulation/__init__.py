"""The whole provider in virtual time: a simulated API server, engine and users, with every fault, by seed."""
