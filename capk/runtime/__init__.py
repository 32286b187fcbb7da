"""The parts of a controller that do not depend on any kind of object."""
