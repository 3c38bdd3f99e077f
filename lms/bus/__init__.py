"""The D-Bus face of the service (DESIGN §4): translates, authorises, delegates.

Which verbs there are is `lms.bus.verbs`, who may call what is `lms.bus.rules`, what the bus sees of jobs and state
is `lms.bus.board` and `lms.bus.items`; `Face` puts them on a bus.
"""

from lms.bus.face import Face

__all__ = ["Face"]
