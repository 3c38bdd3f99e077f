"""The one table of errors: whose fault, whether to try again, what to do next.

Every error that leaves a room of this project is a class of this package. The class name is the error's name on
every floor; its attributes give the exit code of `lmsctl` and the words of `hint:`.
"""

from lms.errors.authority import *
from lms.errors.base import *
from lms.errors.bus import *
from lms.errors.caller import *
from lms.errors.containers import *
from lms.errors.documents import *
from lms.errors.inventory import *
from lms.errors.kernel import *
from lms.errors.state import *
from lms.errors.tpm import *
from lms.errors.volumes import *
