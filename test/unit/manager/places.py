"""Places of engines for tests."""

from capk.api.endpoint import EndpointMode
from capk.engine.place import SHARED, Place

HERE = Place(SHARED, EndpointMode.EXTERNAL, ("/",))
ELSEWHERE = Place("remote", EndpointMode.EXTERNAL, ("/",), pool="remote")
