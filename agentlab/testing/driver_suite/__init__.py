"""What every driver promises, as tests. Say how yours is made, and pytest runs the promises:

    class TestMine(DriverSuite):
        kind = "mine"

        def task(self, *steps):
            return words_that_make_my_agent_take(steps)

Of a vendor's program there are more, kept by the real one against a scripted model:

    class TestTheirs(VendorSuite):
        kind = "theirs"
        model = "some-model"
        own = ({"tool": "Write", "args": {"file_path": "sneaky.txt", "content": "x"}},)

        def env(self, bench):
            return {"THEIR_BASE_URL": bench.model.url, "THEIR_API_KEY": "dummy"}

What a driver does not do, it declares (`Case`); then it is tested that it is refused. `hold_together` holds a call of each for
two minutes.
"""

from .bench import HELD, PATIENCE, WAIT, DriverBench, Step, do, until
from .boundary import Boundary
from .calls import Calls
from .case import Case, VendorCase
from .ends import Ends
from .model import Model
from .outage import Outage
from .patience import hold_together
from .program import Program
from .sessions import Sessions
from .steering import Steering


class DriverSuite(Calls, Sessions, Steering, Outage, Ends):
    """Each test is a promise of `Driver`; its bases are what they are about."""


class VendorSuite(Boundary, Model, Program, DriverSuite):
    """And those of a driver of a vendor's program."""


__all__ = [
    "HELD",
    "PATIENCE",
    "WAIT",
    "Calls",
    "Case",
    "DriverBench",
    "DriverSuite",
    "Ends",
    "Outage",
    "Sessions",
    "Steering",
    "Step",
    "VendorCase",
    "VendorSuite",
    "do",
    "hold_together",
    "until",
]
